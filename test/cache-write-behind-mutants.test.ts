import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Barrier } from "./harness/cache/barrier.ts";
import { NumbersOfRecord, WriteBehindFleet, type WriteBehindServer } from "./harness/cache/write-behind-fleet.ts";
import type { WriteBehindSettings } from "./harness/cache/write-behind-worker.ts";
import { eventually } from "./harness/eventually.ts";
import type { Mutation } from "./harness/mutant.ts";

let fleet: WriteBehindFleet;
let unchanged: string;
beforeAll(async () => {
  fleet = await WriteBehindFleet.start({ longestLeaseMs: 3_500 });
  unchanged = await WriteBehindFleet.build();
});
afterEach(() => fleet.killAll());
afterAll(() => fleet.stop());

/** What goes wrong, and how often it was seen. */
type Violations = (program: string) => Promise<number>;

const hour = 3_600_000;

async function open(program: string, source: NumbersOfRecord, given: Partial<WriteBehindSettings> = {}, count = 1) {
  const times = { saveTimeoutMs: 1_000, flushAfterMs: 20, ttlMs: 60_000 };
  const servers = await fleet.startServers(program, source, count, { name: fleet.newName(), ...times, ...given });
  return servers as [WriteBehindServer, ...WriteBehindServer[]];
}

/** Has a server save rows in all partitions, twice: it asks for each that it may save in meanwhile. That of "a" is held. */
async function haveAllSavedBy(server: WriteBehindServer, name: string): Promise<void> {
  const ids = Array.from({ length: 64 }, (_, index) => `other-${index}`);
  for (const value of [1, 2]) {
    // All, since each wakes who saves its partition.
    await Promise.all(ids.map((id) => server.ask("set", id, value)));
    const waiting = () => fleet.redis.keys(`${name}:*:queue`);
    await eventually("the others are saved", async () => (await waiting()).length <= 1);
  }
}

async function untilEmpty(server: WriteBehindServer): Promise<void> {
  await eventually("no row waits", async () => (await server.ask("backlog")).rows === 0, { withinMs: 20_000 });
}

const writesLost: Violations = async (program) => {
  const source = new NumbersOfRecord();
  const [server] = await open(program, source);
  const committed = new Barrier();
  source.after = committed;
  await server.ask("set", "a", 1);
  await committed.arrivals(1);
  source.after = undefined;
  await server.ask("set", "a", 2);
  committed.release();
  await untilEmpty(server);
  return source.valueOf("a") === 2 ? 0 : 1;
};

const savedBackwards: Violations = async (program) => {
  const source = new NumbersOfRecord();
  const settings = { name: fleet.newName(), saveTimeoutMs: 6_000 };
  const [one] = await open(program, source, settings);
  const held = new Barrier();
  source.before = held;
  await one.ask("set", "a", 1);
  await held.arrivals(1);
  source.before = undefined;
  // Not before: without the rule it would be held as well.
  const [other] = await open(program, source, settings);
  await other.ask("set", "a", 2);
  await haveAllSavedBy(other, settings.name);
  held.release();
  await untilEmpty(one);
  return source.backwards.length;
};

async function withSetting<T>(name: string, value: string, normal: string, work: () => Promise<T>): Promise<T> {
  await fleet.redis.config("SET", name, value);
  try {
    return await work();
  } finally {
    await fleet.redis.config("SET", name, normal);
  }
}

/** How many of these ids can be written. */
async function accepted(server: WriteBehindServer, ids: readonly string[]): Promise<number> {
  const writes = await Promise.allSettled(ids.map((id) => server.ask("set", id, 1)));
  return writes.filter(({ status }) => status === "fulfilled").length;
}

const acceptedWithoutMemory: Violations = async (program) => {
  const [server] = await open(program, new NumbersOfRecord(), { flushAfterMs: hour });
  const ids = ["a", "b", "c"];
  await accepted(server, ids);
  return withSetting("maxmemory", "100kb", "256mb", () => accepted(server, ids));
};

const acceptedWithEviction: Violations = (program) =>
  withSetting("maxmemory-policy", "volatile-lru", "noeviction", async () => {
    const [server] = await open(program, new NumbersOfRecord());
    return accepted(server, ["a"]);
  });

const lostWhileDown: Violations = async (program) => {
  const source = new NumbersOfRecord();
  source.isDown = true;
  const [server] = await open(program, source);
  await server.ask("set", "a", 1);
  const isGone = async () => (await server.ask("backlog")).rows === 0;
  await eventually("several saves have failed", async () => source.savers.length >= 4 || (await isGone()));
  source.isDown = false;
  await untilEmpty(server);
  return source.valueOf("a") === 1 ? 0 : 1;
};

const deadWhileDown: Violations = async (program) => {
  const source = new NumbersOfRecord();
  const [server] = await open(program, source, { maxAttempts: 2 });
  await server.ask("set", "before", 1);
  await untilEmpty(server);
  source.isDown = true;
  await server.ask("set", "a", 1);
  const { length } = source.savers;
  await eventually("several saves have failed", async () => {
    const { deadLetters } = await server.ask("backlog");
    return deadLetters > 0 || source.savers.length >= length + 5;
  });
  return (await server.ask("backlog")).deadLetters;
};

const countedTwice: Violations = async (program) => {
  const [server] = await open(program, new NumbersOfRecord(), { flushAfterMs: hour, sendsTwice: true });
  for (let n = 0; n < 10; n += 1) await server.ask("increment", "a");
  return ((await server.ask("get", "a")) ?? 0) - 10;
};

const staleFills: Violations = async (program) => {
  const source = new NumbersOfRecord();
  const [slow, other] = (await open(program, source, { ttlMs: 50 }, 2)) as [WriteBehindServer, WriteBehindServer];
  // Its scripts are known to Redis then: each is one command.
  await slow.ask("get", "warm-up");
  await eventually("something is filled", async () => (await slow.ask("counts")).fills === 1);
  const loading = new Barrier();
  source.beforeLoadReturns = loading;
  const early = slow.ask("get", "a");
  await loading.arrivals(1);
  source.beforeLoadReturns = undefined;
  await other.ask("set", "a", 1);
  loading.release();
  await early;
  // Its fill was sent before this, on the same connection.
  return (await slow.ask("get", "a")) === 1 ? 0 : 1;
};

const mutants: readonly { rule: string; violations: Violations; mutation: Mutation }[] = [
  {
    rule: "a row leaves the queue only if what was saved is still its value",
    violations: writesLost,
    mutation: {
      name: "settle-any-version",
      file: "lua/queue-settle.lua",
      cut: " and partsOf(entry) == saved",
      instead: "",
    },
  },
  {
    rule: "rows are saved by who holds the lease",
    violations: savedBackwards,
    mutation: {
      name: "lease-of-all",
      file: "lua/queue-lease.lua",
      cut: 'redis.call("GET", KEYS[1]) ~= ARGV[1]',
      instead: "false",
    },
  },
  {
    rule: "the first write of an accepting script is one that a Redis without memory refuses",
    violations: acceptedWithoutMemory,
    mutation: {
      name: "accepted-without-memory",
      file: "lua/queue-accept.lua",
      cut: '  redis.call("SET", KEYS[1], "w"',
      instead: '  redis.call("DEL", KEYS[2])\n  redis.call("SET", KEYS[1], "w"',
    },
  },
  {
    rule: "nothing is accepted by a Redis that has not been found safe",
    violations: acceptedWithEviction,
    mutation: {
      name: "accepted-anywhere",
      file: "lua/queue-accept.lua",
      cut: "not string.find(ARGV[1], epoch, 1, true)",
      instead: "false",
    },
  },
  {
    rule: "an entry has no expiry until it is saved",
    violations: lostWhileDown,
    mutation: {
      name: "expires-unsaved",
      file: "lua/queue-accept.lua",
      cut: 'version .. " " .. text)',
      instead: 'version .. " " .. text, "PX", 100)',
    },
  },
  {
    rule: "a failure is a row's own only if the source has saved others since its last",
    violations: deadWhileDown,
    mutation: {
      name: "dead-while-down",
      file: "lua/queue-fail.lua",
      cut: "last and tonumber(ARGV[5]) > tonumber(last)",
      instead: "true",
    },
  },
  {
    rule: "a write counts once, however often it arrives",
    violations: countedTwice,
    mutation: {
      name: "counted-twice",
      file: "lua/queue-accept.lua",
      cut: "  if kept then",
      instead: "  if false then",
    },
  },
  {
    rule: "a fill is stored only with its token, which an accepted write takes away (C5)",
    violations: staleFills,
    mutation: {
      name: "fill-over-write",
      file: "lua/queue-store.lua",
      cut: 'redis.call("GET", key) ~= "f" .. epoch .. " " .. token',
      instead: "false",
    },
  },
];

for (const { rule, violations, mutation } of mutants) {
  test(`${mutation.name} is noticed once this rule is taken out: ${rule}`, async () => {
    expect(await violations(unchanged)).toBe(0);
    await fleet.killAll();
    expect(await violations(await WriteBehindFleet.build(mutation))).toBeGreaterThan(0);
  });
}
