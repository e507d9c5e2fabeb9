import type { Redis } from "ioredis";
import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../eventually.ts";
import type { FaultProxy, Fault as LinkFault, FaultCounts } from "../fault-proxy.ts";
import { busy, loading, outOfMemory, readOnly, type RedisFault } from "../session/faults.ts";
import type { Node } from "../../../infra/local/redis-sets.mjs";
import type { Fault, FaultTopology } from "./fault.ts";
import { killed, stopped } from "./on-processes.ts";

const onNoDisk = "Sessions that are on no disk are gone: everybody signs in again.";

/** Those whose state Redis differs: with Memcached it is a single one, too. */
const redisTopologies: readonly FaultTopology[] = ["single", "sentinel", "cluster"];

/** What holds the data: it ends, starts again, stands still, is full, or refuses. */
export const storeFaults: readonly Fault[] = [
  {
    name: "the state Redis is killed, and starts again with its append-only file",
    on: redisTopologies,
    lastsMs: 2_000,
    begin: (stack) => killed(stack.stores.state, "SIGKILL"),
  },
  {
    name: "the state Redis is killed, and starts again empty",
    on: redisTopologies,
    lastsMs: 2_000,
    limits: { lost: onNoDisk, "signed out": onNoDisk },
    begin: async (stack) => {
      const { end, seen } = await killed(stack.stores.state, "SIGKILL");
      const emptied = async () => {
        await end?.();
        await eventually("every primary is empty", () => allEmpty(stack.stores.state), { withinMs: 20_000 });
      };
      return { end: emptied, seen };
    },
  },
  {
    name: "the cache Redis is killed, and starts again empty",
    on: ["single", "sentinel"],
    lastsMs: 2_000,
    begin: (stack) => killed(stack.stores.cache.slice(0, 1), "SIGKILL"),
  },
  {
    name: "a Memcached is killed, and starts again empty",
    on: ["memcached"],
    lastsMs: 2_000,
    begin: (stack) => killed(stack.stores.memcached.slice(0, 1), "SIGKILL"),
  },
  {
    name: "all Memcached servers stand still",
    on: ["memcached"],
    lastsMs: 3_000,
    begin: (stack) => stopped(stack.stores.memcached.map(({ process }) => process)),
  },
  onRedis("OOM: the state Redis is full", redisTopologies, outOfMemory),
  onRedis("READONLY: the state Redis takes no writes", ["single"], readOnly),
  onRedis("BUSY: a script of the state Redis does not end", redisTopologies, busy),
  onRedis("LOADING: the state Redis reads its data from disk", ["single"], loading),
  {
    name: "the cache Redis is full, and evicts entries",
    on: ["single"],
    lastsMs: 5_000,
    begin: async ({ stores }) => {
      const admin = stores.cache[0]?.admin;
      const evicted = async () => Number(/evicted_keys:(\d+)/.exec((await admin?.info("stats")) ?? "")?.[1]);
      const before = await evicted();
      const used = Number(/used_memory:(\d+)/.exec((await admin?.info("memory")) ?? "")?.[1]);
      await admin?.config("SET", "maxmemory", used + 100_000);
      const over = new AbortController();
      // Entries of another app, say: of all that may go, something goes with each of them.
      const filling = (async () => {
        for (let number = 0; !over.signal.aborted; number += 1) {
          await admin?.set(`filler:${number}`, "x".repeat(2_000), "PX", 60_000).catch(() => undefined);
          await delay(5);
        }
      })();
      return {
        end: async () => {
          over.abort();
          await filling;
          await admin?.config("SET", "maxmemory", "128mb");
        },
        seen: async () => (await evicted()) - before,
      };
    },
  },
  {
    name: "numbers of the inbox of near copies are skipped, repeated and out of order",
    on: ["single"],
    lastsMs: 3_000,
    peer: false,
    begin: async ({ stores }) => {
      const over = new AbortController();
      let told = 0;
      const redis = [...stores.state, ...stores.cache];
      const publishing = (async () => {
        while (!over.signal.aborted) {
          for (const { admin } of redis) told += await confuse(admin);
          await delay(100);
        }
      })();
      return {
        end: async () => {
          over.abort();
          await publishing;
        },
        seen: () => told,
      };
    },
  },
  {
    name: "the database refuses connections",
    on: ["single"],
    lastsMs: 3_000,
    begin: (_stack, { database }) => onDatabase(database, "refuse", "resets"),
  },
  {
    name: "answers of the database are lost, after it has committed",
    on: ["single"],
    lastsMs: 3_000,
    begin: (_stack, { database }) => onDatabase(database, { cutRepliesEvery: 20 }, "cuts"),
  },
];

/** Something that is wrong with a Redis itself: of several, with the first of the primaries. */
function onRedis(name: string, on: readonly FaultTopology[], make: (redis: { client: Redis }) => RedisFault): Fault {
  return {
    name,
    on,
    lastsMs: 4_000,
    begin: async ({ stores }) => {
      const [node] = stores.state;
      if (node === undefined) throw new Error("There is no state Redis.");
      const fault = make({ client: node.admin });
      await fault.begin();
      return { end: () => fault.end(), seen: () => 1 };
    },
  };
}

/** Empties those that take writes. @returns whether none of them holds anything */
async function allEmpty(nodes: readonly Node[]): Promise<boolean> {
  const sizes = nodes.map(async ({ admin }) => {
    if ((await admin.role())[0] !== "master") return 0;
    await admin.flushall();
    return admin.dbsize();
  });
  const left = await Promise.all(sizes).catch(() => [1]);
  return left.every((size) => size === 0);
}

/** Publishes what a group's members may not believe: a number from the future, one from the past, and one twice. */
async function confuse(redis: Redis): Promise<number> {
  const inbox = ((await redis.pubsub("SHARDCHANNELS", "lockstep:near:*:inbox")) as string[])[0];
  if (inbox === undefined) return 0;
  const [generation, sent] = await redis.hmget(inbox.replace(/:inbox$/, ""), "generation", "sent");
  const number = Number(sent);
  const heard = [];
  for (const each of [number + 5, Math.max(1, number - 1), number]) {
    heard.push(Number(await redis.spublish(inbox, `${generation ?? ""} ${each} nobody ["no key"]`)));
  }
  return heard.reduce((sum, each) => sum + each, 0);
}

async function onDatabase(database: FaultProxy, fault: LinkFault, seenIn: keyof FaultCounts) {
  const before = database.counts[seenIn];
  await database.set(fault);
  return { end: () => database.set("pass"), seen: () => database.counts[seenIn] - before };
}
