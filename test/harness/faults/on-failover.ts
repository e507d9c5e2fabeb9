import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../../../infra/local/processes.mjs";
import { moveOf } from "../../../infra/local/redis-sets.mjs";
import { eventually } from "../eventually.ts";
import type { Stack } from "../stack.ts";
import { all, type Begun, type Fault } from "./fault.ts";
import { killed } from "./on-processes.ts";

/** What docs/durability.md says of a failover. */
const asynchronous = "Without `durability`, what no replica has yet is lost with its primary.";

/** The same of a planned one, in which the old primary goes on for seconds. */
const otherReplica =
  "Until it is told, an old primary takes writes, and a replica that was not promoted confirms them: only `replicas` of all closes that.";

/** Another server takes the place of a primary, and slots that move. */
export const failoverFaults: readonly Fault[] = [
  {
    name: "slots of the Cluster move to other nodes",
    on: ["cluster"],
    lastsMs: 0,
    begin: async ({ stores }) => {
      const primaries = stores.state.slice(0, stores.state.length / 2);
      const sample = await Promise.all(primaries.map(({ admin }) => admin.scan(0, "COUNT", 20)));
      const keys = sample.flatMap(([, found]) => found);
      const slots = await Promise.all(keys.map(async (key) => primaries[0]?.admin.cluster("KEYSLOT", key)));
      const moving = [...new Set(slots)].slice(0, 20).map((slot) => moveOf({ primaries }, slot ?? 0));
      for (const move of moving) {
        await move.begin();
        await delay(50);
        await move.carryOver();
        await move.end();
      }
      return { seen: () => moving.length };
    },
  },
  {
    name: "a planned failover by Sentinel",
    on: ["sentinel"],
    lastsMs: 0,
    limits: all(asynchronous),
    begin: sentinelFailover,
  },
  {
    name: "a planned failover by Sentinel, changes on 1 replica of 2",
    on: ["sentinel"],
    lastsMs: 0,
    options: { stateReplicas: 1 },
    limits: all(otherReplica),
    peer: false,
    begin: sentinelFailover,
  },
  {
    name: "a planned failover by Sentinel, changes on both replicas",
    on: ["sentinel"],
    lastsMs: 0,
    options: { stateReplicas: 2 },
    peer: false,
    begin: sentinelFailover,
  },
  {
    name: "the primary behind Sentinel is killed, and comes back as a replica",
    on: ["sentinel"],
    lastsMs: 8_000,
    limits: all(asynchronous),
    begin: primaryKilled,
  },
  {
    name: "the primary behind Sentinel is killed, changes on 1 replica",
    on: ["sentinel"],
    lastsMs: 8_000,
    options: { stateReplicas: 1 },
    peer: false,
    begin: primaryKilled,
  },
  {
    name: "a primary of the Cluster is killed, and comes back as a replica",
    on: ["cluster"],
    lastsMs: 8_000,
    limits: all(asynchronous),
    begin: primaryKilled,
  },
  {
    name: "a primary of the Cluster is killed, changes on 1 replica",
    on: ["cluster"],
    lastsMs: 8_000,
    options: { stateReplicas: 1 },
    peer: false,
    begin: primaryKilled,
  },
  {
    name: "a planned failover of a primary of the Cluster",
    on: ["cluster"],
    lastsMs: 1_000,
    limits: all(asynchronous),
    begin: clusterFailover,
  },
];

/** Ends the first primary with all that it has in memory. */
export function primaryKilled({ stores }: Stack): Promise<Begun> {
  return killed(stores.state.slice(0, 1), "SIGKILL");
}

/** The same, when its replicas have not heard of it for 200 ms: what a link that long, or that loaded, comes to. */
export async function primaryKilledBehind(stack: Stack): Promise<Begun> {
  const primary = stack.stores.state[0]?.admin;
  // They would be back at once: it listens elsewhere, and keeps the connections that it has.
  await primary?.config("SET", "port", await freePort());
  await primary?.call("CLIENT", "KILL", "TYPE", "replica");
  await delay(200);
  return primaryKilled(stack);
}

/** Has the replica of the first primary of a Cluster take its place. */
export async function clusterFailover({ stores }: Stack): Promise<Begun> {
  const replica = stores.state[stores.state.length / 2]?.admin;
  await replica?.cluster("FAILOVER");
  const isPrimary = async () => (await replica?.role())?.[0] === "master";
  return { seen: async () => ((await isPrimary()) ? 1 : 0) };
}

/** Has the sentinels put another server in the place of the primary. */
export async function sentinelFailover(stack: Stack): Promise<Begun> {
  const before = await primaryBySentinel(stack);
  const [sentinel] = stack.stores.sentinels;
  await eventually("the sentinels begin a failover", async () => {
    const began = await sentinel?.admin.call("SENTINEL", "FAILOVER", "state").catch(() => undefined);
    return began === "OK";
  });
  await eventually("another is the primary", async () => (await primaryBySentinel(stack)) !== before);
  return { seen: () => 1 };
}

/** The address of the primary that holds the sessions. */
export async function primaryBySentinel({ stores }: Stack): Promise<string> {
  return String(await stores.sentinels[0]?.admin.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "state"));
}
