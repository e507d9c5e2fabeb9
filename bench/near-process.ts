// Several members of a group of near copies in a process of their own: each with its client, its cache and its collection.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { setTimeout as delay } from "node:timers/promises";
import { type Collection, createCache } from "@lockstep/cache";
import { joinNearCache, revocationChannel, type RevocationTrip } from "@lockstep/near-cache";
import { Redis } from "ioredis";
import { answerParent } from "./asked-process.ts";
import type { Value } from "./peers/product.ts";
import { timedWrites } from "./timed-writes.ts";
import { valueOf } from "./values.ts";

export interface NearOpenRequest {
  readonly redisUrl: string;
  /** Of cache and group. */
  readonly name: string;
  readonly members: number;
  /** Without, their collections are strict and read Redis. */
  readonly isNear: boolean;
}

export interface MixRequest {
  readonly ids: number;
  readonly durationMs: number;
  readonly maxCalls: number;
  /** How many reads come with each write. */
  readonly readsPerWrite: number;
}

/** Of each round. */
export interface HitRun {
  readonly near: Float64Array;
  readonly plain: Float64Array;
  readonly clocks: Float64Array;
}

export interface MixRun {
  readonly calls: number;
  readonly elapsedMs: number;
}

/** Longer than a new Redis keeps from caching. */
const copyTimeoutMs = 15_000;

const value = valueOf(450);
let members: readonly Member[] = [];

interface Member {
  readonly values: Collection<Value>;
  close(): Promise<void>;
}

const answers = {
  open: async ({ redisUrl, name, members: count, isNear }: NearOpenRequest): Promise<void> => {
    members = await Promise.all(Array.from({ length: count }, () => open(redisUrl, name, isNear)));
  },
  /** Each member reads until its own memory answers, or Redis where there is no near copy. */
  hold: async ({ ids, from }: { ids: number; from: "near" | "shared" }): Promise<void> => {
    for (const { values } of members) await Promise.all(idsOf(ids).map((id) => untilFrom(values, id, from)));
  },
  /**
   * The first member reads what it has copies of, and a Map behind a function that is as asynchronous, and asks the two clocks that a lease has.
   *
   * @returns ns for each
   */
  hits: async ({ ids: count, reads, rounds }: { ids: number; reads: number; rounds: number }): Promise<HitRun> => {
    const [first] = members;
    if (first === undefined) throw new RangeError("Nobody has opened it.");
    const ids = idsOf(count);
    const map = new Map(ids.map((id) => [id, value]));
    const fromMap = async (id: string): Promise<Value | undefined> => map.get(id);
    const [near, plain, clocks] = [new Float64Array(rounds), new Float64Array(rounds), new Float64Array(rounds)];
    for (let round = 0; round < rounds; round += 1) {
      clocks[round] = nsPerLook(reads);
      plain[round] = await nsPerRead(fromMap, ids, reads);
      near[round] = await nsPerRead((id) => first.values.get(id), ids, reads);
    }
    return { near, plain, clocks };
  },
  /** The first member writes. @returns what each write took, and what it took of that to make the group drop its copies; in ms */
  write: async (pace: { writes: number; rests: boolean }): Promise<{ took: Float64Array; revoked: Float64Array }> => {
    const [first] = members;
    const revoked: number[] = [];
    const onRevoked = (trip: unknown) => revoked.push((trip as RevocationTrip).durationMs);
    subscribe(revocationChannel, onRevoked);
    const took = await timedWrites(async () => first?.values.update("id-0", async () => value), pace);
    unsubscribe(revocationChannel, onRevoked);
    return { took, revoked: Float64Array.from(revoked) };
  },
  /** The same for so long. */
  writeFor: async ({ durationMs }: { durationMs: number }): Promise<Float64Array> => {
    const [first] = members;
    const took: number[] = [];
    const end = performance.now() + durationMs;
    while (performance.now() < end) {
      const start = performance.now();
      await first?.values.update("id-0", async () => value);
      took.push(performance.now() - start);
      await delay(1);
    }
    return Float64Array.from(took);
  },
  /** The first member reads and writes, one call after the other. */
  mix: async ({ ids: count, durationMs, maxCalls, readsPerWrite }: MixRequest): Promise<MixRun> => {
    const [first] = members;
    const ids = idsOf(count);
    const start = performance.now();
    let calls = 0;
    while (calls < maxCalls && performance.now() - start < durationMs) {
      const id = ids[Math.floor(Math.random() * ids.length)] ?? "id-0";
      if (calls % (readsPerWrite + 1) === readsPerWrite) await first?.values.update(id, async () => value);
      else await first?.values.get(id);
      calls += 1;
    }
    return { calls, elapsedMs: performance.now() - start };
  },
  close: async (): Promise<void> => {
    await Promise.all(members.map((member) => member.close()));
    members = [];
  },
};

export type NearAnswers = typeof answers;

answerParent(answers);

async function open(redisUrl: string, name: string, isNear: boolean): Promise<Member> {
  const client = new Redis(redisUrl, { protocol: 2 });
  const near = isNear ? await joinNearCache({ client, group: name }) : undefined;
  const cache = createCache({ client, near, name });
  const values = cache.collection<Value>("value", { load: async () => value, ttlMs: 600_000 });
  return {
    values,
    close: async () => {
      cache.close();
      await near?.close();
      client.disconnect();
    },
  };
}

function nsPerLook(looks: number): number {
  const start = performance.now();
  let latest = 0;
  for (let look = 0; look < looks; look += 1) latest = Math.max(performance.now(), Date.now());
  return latest === 0 ? NaN : ((performance.now() - start) / looks) * 1e6;
}

async function nsPerRead(
  read: (id: string) => Promise<unknown>,
  ids: readonly string[],
  reads: number,
): Promise<number> {
  const start = performance.now();
  for (let index = 0; index < reads; index += 1) await read(ids[index % ids.length] ?? "");
  return ((performance.now() - start) / reads) * 1e6;
}

async function untilFrom(values: Collection<Value>, id: string, from: "near" | "shared"): Promise<void> {
  const start = performance.now();
  while ((await values.lookup(id)).from !== from) {
    if (performance.now() - start > copyTimeoutMs) throw new Error(`No read was answered from ${from} in time.`);
    await delay(20);
  }
}

function idsOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `id-${index}`);
}
