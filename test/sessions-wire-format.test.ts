import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Client } from "./harness/client.ts";
import { buildServer } from "./harness/session/build-server.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import { change, sessionAt, signedIn } from "./harness/session/requests.ts";
import type { ServerSettings } from "./harness/session/server-settings.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";

const prefix = "wire:";
const idleMs = 600_000;
const engine = { prefix, idleMs, ids: "plain" } as const;

const theirs = ["connect-redis", "connect-redis-10"] as const;
const ours = ["store", "middleware"] as const;

let redis: SessionRedis;
let program: string;
beforeAll(async () => {
  redis = await startSessionRedis();
  program = await buildServer();
});
afterAll(() => redis.stop());

/** What a session may hold: text in any script, numbers that lose nothing, dates, empty things, and names that are odd. */
const values = {
  user: "zoë",
  text: "日本語 🦊 \u2028 \u0000 \\ \" '",
  numbers: { zero: 0, negative: -1.5e-7, large: 9_007_199_254_740_991 },
  empty: { list: [], object: {}, text: "", nothing: null, no: false },
  nested: { list: [{ a: 1 }, [2, [3]]] },
  "a name: with {braces}": 1,
};
const date = "2024-02-29T12:34:56.789Z";

for (const their of theirs) {
  for (const our of ours) {
    describe(`${our} beside ${their}`, () => {
      let fleet: SessionFleet;
      beforeAll(async () => {
        fleet = await SessionFleet.start({ program, redis: redis.port, servers: [serverOf(their), serverOf(our)] });
      });
      afterAll(() => fleet.stop());

      for (const [what, writer, reader] of [
        ["ours reads what theirs wrote", 1, 2],
        ["theirs reads what ours wrote", 2, 1],
      ] as const) {
        test(`${what}, in whatever order they write`, async () => {
          const [first, second] = [fleet.url(writer), fleet.url(reader)];
          const client = await signedIn(first, values);
          await change(first, client, { setDates: { since: date } });
          const written = { ...values, since: date };
          expect(await sessionAt(second, client)).toEqual(written);
          await change(second, client, { set: { "nested/more": "ñ" }, remove: ["text"] });
          const { text: _removed, ...rest } = written;
          expect(await sessionAt(first, client)).toEqual({ ...rest, nested: { ...values.nested, more: "ñ" } });
          await change(first, client, { append: { "nested/list": "last" } });
          const nested = { list: [...values.nested.list, "last"], more: "ñ" };
          expect(await sessionAt(second, client)).toEqual({ ...rest, nested });
        });

        test(`${what}: a use at one keeps the session alive for the other, and changes nothing`, async () => {
          const client = await signedIn(fleet.url(writer), { user: "zoë" });
          await redis.client.pexpire(keyOf(client), idleMs / 2);
          const before = await recordOf(client);
          await sessionAt(fleet.url(reader), client);
          // connect-redis gives it the idle time, we a tenth more.
          await expect.poll(() => redis.client.pttl(keyOf(client))).toBeGreaterThan(idleMs * 0.99);
          expect(await redis.client.pttl(keyOf(client))).toBeLessThanOrEqual(idleMs * 1.1);
          expect(await recordOf(client)).toEqual(before);
        });

        test(`${what}: signed out at one is signed out at the other`, async () => {
          const client = await signedIn(fleet.url(writer), { user: "zoë" });
          const before = client.copy();
          await client.request("POST", `${fleet.url(reader)}/sign-out`);
          expect(await sessionAt(fleet.url(writer), before)).toBeUndefined();
        });
      }

      test("what Lockstep keeps with a session survives a change by theirs", async () => {
        const client = await signedIn(fleet.url(2), { user: "zoë" });
        const { created } = metaOf(await recordOf(client));
        expect(created).toBeGreaterThan(0);
        await change(fleet.url(1), client, { set: { colour: "blue" } });
        await change(fleet.url(2), client, { set: { size: 1 } });
        const record = await recordOf(client);
        expect(record).toMatchObject({ user: "zoë", colour: "blue", size: 1 });
        expect(metaOf(record)).toMatchObject({ created });
      });
    });
  }
}

function serverOf(stack: ServerSettings["stack"]): ServerSettings {
  return { stack, engine };
}

function keyOf(client: Client): string {
  return `${prefix}${String(client.sessionId)}`;
}

async function recordOf(client: Client): Promise<Record<string, unknown>> {
  return JSON.parse((await redis.client.get(keyOf(client))) ?? "{}") as Record<string, unknown>;
}

function metaOf(record: Record<string, unknown>): Record<string, unknown> {
  return record["__lockstep"] as Record<string, unknown>;
}
