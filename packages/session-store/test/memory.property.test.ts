import { readScript, runScript } from "@lockstep/redis-kit";
import fc from "fast-check";
import type { Redis } from "ioredis";
import { expect, it } from "vitest";
import { memoryRedis } from "../src/memory.ts";
import { testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();
const script = (verb: string) => readScript(new URL(`../lua/${verb}.lua`, import.meta.url));

/** What records may hold: sessions, what remembers a destroyed one, and forwards of each kind. */
const text = fc.constantFrom("", "{}", '{"a":"é"}', ">r1", ">m", ">m{}", ">x", "\u{1f600}");
const life = fc.constantFrom(20_000, 50_000, 90_000);
const lifeOrNone = fc.oneof(life, fc.constant(-1));
const row = fc.constantFrom("x", "y", "z");
/** A row, something, and what the row is a draft of, if it is one: never of itself. */
const rowOf = <T extends string | number>(between: fc.Arbitrary<T>) =>
  fc.tuple(row, between, fc.constantFrom("", "x", "y", "z")).filter(([of, , origin]) => of !== origin);
const key = fc.constantFrom(["a"], ["b"]);

/** A script with all that it may be given. */
const call = fc.oneof(
  fc.record({
    verb: fc.constant("load"),
    keys: fc.array(fc.constantFrom("a", "b", "index", "none")),
    args: fc.constant([]),
  }),
  fc.record({
    verb: fc.constant("commit"),
    keys: key,
    args: fc.tuple(text, text, lifeOrNone, fc.constant("told"), text),
  }),
  fc.record({ verb: fc.constant("touch"), keys: key, args: fc.tuple(lifeOrNone) }),
  fc.record({
    verb: fc.constant("destroy"),
    keys: key,
    args: fc.tuple(life, fc.constant("told"), fc.constant("ended"), fc.constantFrom("whole", "record")),
  }),
  fc.record({
    verb: fc.constant("admit"),
    keys: fc.constant(["index"]),
    args: rowOf(fc.integer({ min: 1, max: 3 })),
  }),
  fc.record({ verb: fc.constant("promote"), keys: fc.constant(["index"]), args: fc.tuple(row, row) }),
  // Settled for a minute: too young. For less than nothing: old enough.
  fc.record({
    verb: fc.constant("trim"),
    keys: fc.constant(["index"]),
    args: rowOf(fc.constantFrom(60_000, -60_000, 0)),
  }),
);

interface Call {
  readonly verb: string;
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
}

/** What a sequence of scripts replies, leaves behind and tells, lives to the nearest ten seconds. */
async function run(redis: Redis, calls: readonly Call[]) {
  const prefix = uniquePrefix();
  const listener = redis.duplicate();
  const told: string[] = [];
  listener.on("message", (_channel, message) => told.push(message));
  await listener.subscribe(`${prefix}told`);
  const replies: unknown[] = [];
  for (const { verb, keys, args } of calls) {
    const given = args.map((arg) => (arg === "told" ? `${prefix}told` : arg));
    const full = keys.map((key) => prefix + key);
    const reply = await runScript(redis, script(verb), full, given);
    replies.push(comparable(verb, reply));
  }
  const left = [];
  for (const key of ["a", "b"]) {
    left.push([await redis.get(prefix + key), Math.round((await redis.pttl(prefix + key)) / 10_000)]);
  }
  const rows = await redis.zrange(`${prefix}index`, 0, "-1");
  await redis.publish(`${prefix}told`, "the end");
  await expect.poll(() => told.at(-1), { interval: 1 }).toBe("the end");
  listener.disconnect();
  return { replies, left, rows: rows.toSorted(), told };
}

function comparable(verb: string, reply: unknown): unknown {
  if (verb === "load") return (reply as (unknown[] | 0 | null)[]).map((found) => found && found[0]);
  // Drafts of one session are of one age, so they have no order.
  if (verb === "trim") return (reply as string[]).toSpliced(1, Infinity, ...(reply as string[]).slice(1).toSorted());
  return reply;
}

it("each script does in memory what it does on Redis", async () => {
  const memory = memoryRedis();
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 25 }), async (calls) => {
      expect(await run(memory, calls)).toEqual(await run(client, calls));
    }),
    { numRuns: 200 },
  );
}, 60_000);
