import { expect, it } from "vitest";
import { intercept, testClient, uniqueName } from "./harness/redis.ts";
import { openWarmServer } from "./harness/server.ts";
import { Source } from "./harness/source.ts";
import { until } from "./harness/until.ts";
import { type Create, type Rule, expectKept, expectMissed } from "./harness/without-rule.ts";

const rules: readonly Rule[] = [
  {
    rule: "one of all servers refreshes an expired value (F5)",
    name: "refreshed-by-each",
    file: "lua/read.lua",
    cut: '(holder == "-" and "failed" or "running")',
    instead: "false",
    violations: async (create) => (await refreshedBy(create, 5)) - 1,
  },
  {
    rule: "nobody asks a source for a while that has just failed (F5)",
    name: "asked-again-at-once",
    file: "lua/read.lua",
    cut: "or till > now() and",
    instead: 'or holder ~= "-" and till > now() and',
    violations: async (create) => (await loadsWhileItFails(create, 5)) - 1,
  },
  {
    rule: "a token outlives the wait for a turn, and the load (F3)",
    name: "token-of-one-load",
    file: "src/parts.ts",
    cut: "2 * options.loadTimeoutMs",
    instead: "options.loadTimeoutMs",
    violations: lateLoadsNotStored,
  },
  {
    rule: "a write takes an expired value away at once (C4, F5)",
    name: "stale-after-write",
    file: "lua/begin.lua",
    cut: 'redis.call("DEL", KEYS[1])\n',
    instead: "",
    violations: staleAfterWrite,
  },
  {
    rule: "an entry of another revision reads as missing",
    name: "any-revision",
    file: "lua/read.lua",
    cut: " and entry:sub(start + 1, start + #revision) == revision",
    instead: "",
    violations: readOfOtherRevision,
  },
  {
    rule: "what a read brings that a write of this server has overtaken becomes no copy (C5)",
    name: "reservation-ignored",
    file: "../redis-kit/src/copies.ts",
    cut: "!reservation.isVoid && ",
    instead: "",
    violations: copyOfOvertakenRead,
  },
  {
    rule: "a copy ends copyMs after the sending of its read (C10)",
    name: "endless-copy",
    file: "src/reader.ts",
    cut: "Math.min(options.copyMs, leftMs)",
    instead: "leftMs",
    violations: copyAfterItsTime,
  },
  {
    rule: "a hit without a script is of the epoch that was told (C9)",
    name: "hit-of-any-epoch",
    file: "src/drivers/hits.ts",
    cut: "if (!entry.startsWith(confirmed.start)) return undefined;",
    instead: "",
    violations: hitOfOtherEpoch,
  },
];

it.each(rules)("$name is noticed, without this rule: $rule", expectMissed);

it.each(rules)("… and not with it: $rule", expectKept);

async function openExpired(create: Create, source: Source, options: Parameters<typeof openWarmServer>[1]) {
  const server = await openWarmServer(source, { create, name: uniqueName(), ttlMs: 30, ...options });
  await server.things.get("a");
  await until(() => expect(server.things.counts().fills).toBe(1));
  const extraMs = Math.max(options?.staleMs ?? 0, options?.graceMs ?? 0);
  await until(async () => expect(await server.client.pttl(server.keysOf("a").entry)).toBeLessThanOrEqual(extraMs));
  return server;
}

async function refreshedBy(create: Create, readers: number): Promise<number> {
  const source = new Source({ a: "old" });
  const server = await openExpired(create, source, { staleMs: 60_000 });
  const barrier = source.hold();
  for (let reader = 0; reader < readers; reader += 1) await server.things.get("a");
  await barrier.arrivals(1);
  return source.loads.length - 1;
}

async function loadsWhileItFails(create: Create, readers: number): Promise<number> {
  const source = new Source({ a: "old" });
  let failures = 0;
  const load: typeof source.load = (...args) => {
    if (source.loads.length === 0) return source.load(...args);
    failures += 1;
    return Promise.reject(new Error("out of order"));
  };
  const server = await openExpired(create, source, { graceMs: 60_000, load });
  for (let reader = 0; reader < readers; reader += 1) expect(await server.things.get("a")).toBe("old");
  return failures;
}

/** Of two loads, of which the second has to wait for its turn; each takes three quarters of its time. */
async function lateLoadsNotStored(create: Create): Promise<number> {
  const source = new Source();
  const loadTimeoutMs = 1_600;
  const server = await openWarmServer(source, { create, loadTimeoutMs, maxSourceConcurrency: 1 });
  const reads: Promise<unknown>[] = [];
  let barrier = source.hold();
  for (const id of ["a", "b"]) {
    reads.push(server.things.get(id));
    await until(async () => expect(await server.client.exists(server.keysOf(id).entry)).toBe(1));
  }
  for (let load = 0; load < 2; load += 1) {
    await barrier.arrivals(1);
    const end = performance.now() + 0.75 * loadTimeoutMs;
    await until(() => expect(performance.now()).toBeGreaterThan(end));
    const held = barrier;
    barrier = source.hold();
    held.release();
  }
  await Promise.all(reads);
  await until(() => {
    const { fills, refusedFills } = server.things.counts();
    expect(fills + refusedFills).toBe(2);
  });
  return server.things.counts().refusedFills;
}

async function staleAfterWrite(create: Create): Promise<number> {
  const source = new Source({ a: "old" });
  const server = await openExpired(create, source, { staleMs: 60_000, writePolicy: "cache-aside" });
  await server.things.update("a", source.write("a", "new"));
  return (await server.things.get("a")) === "new" ? 0 : 1;
}

async function readOfOtherRevision(create: Create): Promise<number> {
  const source = new Source({ a: "old shape" });
  const name = uniqueName();
  const old = await openWarmServer(source, { create, name, revision: 1 });
  await old.things.get("a");
  await until(() => expect(old.things.counts().fills).toBe(1));
  const next = await openWarmServer(source, { create, name, revision: 2 });
  source.rows.set("a", "new shape");
  return (await next.things.get("a")) === "new shape" ? 0 : 1;
}

async function copyOfOvertakenRead(create: Create): Promise<number> {
  const source = new Source({ a: "old" });
  let isHeld = false;
  const held: (() => void)[] = [];
  const client = intercept(testClient(), async (send) => {
    const reply = await send();
    if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
    return reply;
  });
  const server = await openWarmServer(source, { create, client, coherence: "bounded", copyMs: 60_000 });
  await server.things.get("a");
  await until(() => expect(server.things.counts().fills).toBe(1));
  isHeld = true;
  const reading = server.things.get("a");
  await until(() => expect(held).toHaveLength(1));
  isHeld = false;
  await server.things.update("a", source.write("a", "new"));
  for (const release of held) release();
  await reading;
  return (await server.things.get("a")) === "new" ? 0 : 1;
}

async function copyAfterItsTime(create: Create): Promise<number> {
  const source = new Source({ a: "old" });
  const options = { create, name: uniqueName(), coherence: "bounded", copyMs: 200 } as const;
  const [one, other] = [await openWarmServer(source, options), await openWarmServer(source, options)];
  await until(async () => expect((await one.things.lookup("a")).from).toBe("near"));
  await other.things.update("a", source.write("a", "new"));
  const end = performance.now() + 400;
  await until(() => expect(performance.now()).toBeGreaterThan(end));
  return (await one.things.get("a")) === "new" ? 0 : 1;
}

async function hitOfOtherEpoch(create: Create): Promise<number> {
  const source = new Source({ a: "old" });
  const server = await openWarmServer(source, { create });
  await server.things.getMany(["a", "b"]);
  await until(() => expect(server.things.counts().fills).toBe(2));
  const { entry } = server.keysOf("a");
  const text = (await server.client.get(entry)) ?? "";
  await server.client.set(entry, `${"0".repeat(16)}${text.slice(16)}`, "PX", 60_000);
  source.rows.set("a", "new");
  await server.things.getMany(["b", "c"]); // a script tells the epoch
  return (await server.things.get("a")) === "new" ? 0 : 1;
}
