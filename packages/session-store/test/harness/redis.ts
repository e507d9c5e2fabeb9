import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, inject } from "vitest";

/** A client of the tests' Redis, closed after the file that asked for it. */
export function testClient(): Redis {
  const client = new Redis(inject("redisUrl"), { protocol: 2 });
  afterAll(() => {
    client.disconnect();
  });
  return client;
}

/** A key prefix that no other test uses. */
export function uniquePrefix(): string {
  return `test:${randomUUID()}:`;
}

/** The same client, with `around` put around each script it sends: to hold it, to send it twice, to lose its answer. */
export function intercept(client: Redis, around: (send: () => Promise<unknown>) => Promise<unknown>): Redis {
  return new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== "evalsha" || typeof value !== "function") return value;
      return (...args: unknown[]) => around(() => Reflect.apply(value, target, args) as Promise<unknown>);
    },
  });
}

/** The same client, whose scripts wait until told. The session of a request without a cookie sends one: its commit. */
export function barrier(client: Redis): { held: Redis; arrived: Promise<void>; open: () => void } {
  let open: () => void = () => undefined;
  let arrive: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  const held = intercept(client, async (send) => {
    arrive();
    await opened;
    return send();
  });
  return { held, arrived, open };
}
