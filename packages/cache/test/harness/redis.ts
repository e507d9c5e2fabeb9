import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { expect, inject, onTestFinished } from "vitest";
import { until } from "./until.ts";

/** A client of the tests' Redis, closed after the test that asked for it. */
export function testClient({ protocol = 2, keyPrefix = "" }: { protocol?: 2 | 3; keyPrefix?: string } = {}): Redis {
  const client = new Redis(inject("redisUrl"), { protocol, keyPrefix });
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

/** A cache's name that no other test uses. */
export function uniqueName(): string {
  return `test-${randomUUID()}`;
}

/** C9: waits until Redis is old enough for fills by whoever has not known it for long. */
export async function untilOldEnough(client: Redis, pendingMs: number): Promise<void> {
  await until(async () => {
    const uptimeS = /uptime_in_seconds:(\d+)/.exec(await client.info("server"))?.[1];
    expect((Number(uptimeS) - 1) * 1_000).toBeGreaterThan(pendingMs * 1.01);
  });
}

/** The same client, with `around` put around each script it sends: to hold it, to send it twice, to lose its answer. */
export function intercept(
  client: Redis,
  around: (send: () => Promise<unknown>) => Promise<unknown>,
  commands: readonly (string | symbol)[] = ["evalsha"],
): Redis {
  return new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (!commands.includes(property) || typeof value !== "function") return value;
      return (...args: unknown[]) => around(() => Reflect.apply(value, target, args) as Promise<unknown>);
    },
  });
}

/** The same client, and how many of its scripts were under way at the same time, at most. */
export function countInFlight(client: Redis) {
  let [running, most] = [0, 0];
  const counted = intercept(client, async (send) => {
    running += 1;
    most = Math.max(most, running);
    return send().finally(() => {
      running -= 1;
    });
  });
  return { client: counted, most: () => most };
}
