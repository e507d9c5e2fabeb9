import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../../../infra/local/processes.mjs";
import { eventually } from "../eventually.ts";
import type { Fault as LinkFault, FaultCounts, FaultScope } from "../fault-proxy.ts";
import type { Stack } from "../stack.ts";
import { primaryBySentinel } from "./on-failover.ts";
import { all, allServers, type Begun, type Fault } from "./fault.ts";

/** What docs/durability.md says of a server that goes on with an old primary. */
const together =
  "Who is sent to that server sees what the old primary has, until both are reached again; only `durability` keeps changes there from being acknowledged and lost.";

/** Between servers and Redis or Memcached. */
export const linkFaults: readonly Fault[] = [
  onLinks("state", "one server is cut off from the state Redis without a word (black hole)", "hold", "heldChunks", [2]),
  onLinks("state", "all servers are cut off from the state Redis without a word (black hole)", "hold", "heldChunks"),
  onLinks("state", "the state Redis refuses connections", "refuse", "resets"),
  onLinks("state", "200 ms to the state Redis", { delayMs: 200 }, "delayedChunks"),
  onLinks("state", "one in 40 replies of the state Redis is cut in the middle", { cutRepliesEvery: 40 }, "cuts"),
  onLinks("state", "replies of the state Redis come 700 ms late", { delayRepliesMs: 700 }, "delayedChunks"),
  onLinks("state", "connections of near copies alone are reset", "reset", "resets", allServers, "resp3"),
  onLinks("state", "connections of near copies alone are silent", "hold", "heldChunks", allServers, "resp3"),
  onLinks("state", "connections of one server's near copies alone are silent", "hold", "heldChunks", [2], "resp3"),
  onLinks(
    "state",
    "connections of near copies alone are 200 ms slow",
    { delayMs: 200 },
    "delayedChunks",
    allServers,
    "resp3",
  ),
  onLinks("cache", "all servers are cut off from the cache Redis without a word (black hole)", "hold", "heldChunks"),
  onLinks("cache", "200 ms to the cache Redis", { delayMs: 200 }, "delayedChunks"),
  {
    name: "connections to the state Redis break every 300 ms",
    on: ["single", "sentinel", "cluster"],
    lastsMs: 5_000,
    options: { proxied: allServers },
    begin: async (stack) => {
      const over = new AbortController();
      const flapping = (async () => {
        while (!over.signal.aborted) {
          await Promise.all(allServers.map((number) => stack.proxy(number).set("reset")));
          await Promise.all(allServers.map((number) => stack.proxy(number).set("pass")));
          await delay(300);
        }
      })();
      return {
        end: async () => {
          over.abort();
          await flapping;
        },
        seen: () => sum(stack, "proxy", "resets"),
      };
    },
  },
  {
    name: "an old primary and one server are cut off together, while another primary is chosen",
    on: ["sentinel"],
    lastsMs: 6_000,
    options: { proxied: [1] },
    limits: all(together),
    begin: cutOffTogether,
  },
  {
    name: "an old primary and one server are cut off together, changes on 1 replica",
    on: ["sentinel"],
    lastsMs: 6_000,
    options: { proxied: [1], stateReplicas: 1 },
    limits: { stale: together, "signed out": together, revived: together },
    peer: false,
    begin: cutOffTogether,
  },
];

/** Something between servers and what they connect to. */
function onLinks(
  to: "state" | "cache",
  name: string,
  fault: LinkFault,
  seenIn: keyof FaultCounts,
  numbers: readonly number[] = allServers,
  scope: FaultScope = "all",
): Fault {
  const which = to === "state" ? "proxy" : "cacheProxy";
  return {
    name,
    on: to === "state" ? ["single", "sentinel", "cluster"] : ["single", "memcached"],
    lastsMs: 4_000,
    // Who has no near copies has no such connections.
    peer: scope === "all",
    options: to === "state" ? { proxied: numbers } : { cacheProxied: numbers },
    begin: async (stack) => {
      const before = sum(stack, which, seenIn, numbers);
      const set = (what: LinkFault) => Promise.all(numbers.map((number) => stack[which](number).set(what, scope)));
      await set(fault);
      return {
        end: async () => {
          await set("pass");
        },
        seen: () => sum(stack, which, seenIn, numbers) - before,
      };
    },
  };
}

function sum(
  stack: Stack,
  which: "proxy" | "cacheProxy",
  count: keyof FaultCounts,
  numbers: readonly number[] = allServers,
): number {
  return numbers.reduce((total, number) => total + stack[which](number).counts[count], 0);
}

/**
 * Nobody but server 1 reaches the primary, and server 1 nobody else: the primary listens on another port, keeps the connections
 * of server 1 alone, and new ones of that server are led there.
 */
async function cutOffTogether(stack: Stack): Promise<Begun> {
  const { state, sentinels } = stack.stores;
  const [old, ...replicas] = state;
  if (old === undefined) throw new Error("There is no primary.");
  const links = stack.proxy(1);
  const toOld = links.to(old.port);
  const before = await primaryBySentinel(stack);
  const hidden = await freePort();
  for (const { port } of [...replicas, ...sentinels]) await links.to(port).set("refuse");
  toOld.leadTo(hidden);
  await old.admin.config("SET", "port", hidden);
  const ours = new Set(toOld.portsAtTarget);
  for (const [, id, port] of String(await old.admin.client("LIST")).matchAll(/^id=(\d+) addr=[^ ]+:(\d+) /gm)) {
    const isOwn = id === String(await old.admin.client("ID")) || ours.has(Number(port));
    if (!isOwn) await old.admin.client("KILL", "ID", id ?? "");
  }
  const isReplaced = async () => (await primaryBySentinel(stack)) !== before;
  return {
    end: async () => {
      await eventually("another is the primary", isReplaced);
      await old.admin.config("SET", "port", old.port);
      toOld.leadTo(old.port);
      await links.set("pass");
    },
    seen: async () => ((await isReplaced()) ? 1 : 0),
  };
}
