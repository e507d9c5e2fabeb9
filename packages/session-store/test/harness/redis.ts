import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, inject, it } from "vitest";
import { holdsRecord } from "../../src/forward.ts";

/** A client of the tests' Redis, closed after the file that asked for it. */
export function testClient(): Redis {
  const client = new Redis(inject("redisUrl"), { protocol: 2 });
  afterAll(() => {
    client.disconnect();
  });
  return client;
}

/** For cases that only a real Redis can show: memory.test.ts runs the others in memory too. */
export const itOnRedis = it;

/** A client whose rights a test may change while it is used: `allow("-set")` makes Redis refuse what stores a record. */
export async function restrictedClient(client: Redis) {
  const username = `user-${randomUUID()}`;
  const allow = (rule: string) => client.acl("SETUSER", username, rule);
  for (const rule of ["on", "nopass", "~*", "&*", "+@all"]) await allow(rule);
  const restricted = client.duplicate({ username, password: "any" });
  const end = async () => {
    restricted.disconnect();
    await client.acl("DELUSER", username);
  };
  return { restricted, allow, end };
}

/** A key prefix that no other test uses. */
export function uniquePrefix(): string {
  return `test:${randomUUID()}:`;
}

/**
 * The same client, with `around` put around the scripts it sends: to hold one, to send it twice, to lose its answer.
 *
 * @param verb only the script of this name
 */
export function intercept(
  client: Redis,
  around: (send: () => Promise<unknown>) => Promise<unknown>,
  verb?: string,
): Redis {
  const text = verb === undefined ? "" : readFileSync(new URL(`../../lua/${verb}.lua`, import.meta.url), "utf8");
  const digest = createHash("sha1").update(text).digest("hex");
  return new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== "evalsha" || typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const send = () => Reflect.apply(value, target, args) as Promise<unknown>;
        return verb === undefined || args[0] === digest ? around(send) : send();
      };
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

/** The keys of living sessions: what one that was destroyed or rotated leaves for a while is none, nor is an index. */
export async function livingKeys(client: Redis, prefix: string): Promise<string[]> {
  const keys = await client.keys(`${prefix}*`);
  const types = await Promise.all(keys.map((key) => client.type(key)));
  const records = keys.filter((_, at) => types[at] === "string");
  const raw = await Promise.all(records.map((key) => client.get(key)));
  return records.filter((_, at) => holdsRecord(raw[at] ?? ""));
}
