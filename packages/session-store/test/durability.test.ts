import { createHash, randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import { type Sessions, type SessionEvent, createSessions } from "@lockstep/session-store";
import { expect, it, onTestFinished } from "vitest";
import { type Cut, copyWithoutRule } from "../../redis-kit/test/harness/without-rule.ts";
import { connect, startOwnRedis } from "../../redis-kit/test/harness/redis.ts";
import {
  connectToCluster,
  moveOf,
  type Node,
  startReplica,
  startSixNodes,
} from "../../redis-kit/test/harness/topologies.ts";
import { FaultProxy } from "../../../test/harness/fault-proxy.ts";
import type { startRedis } from "../../../infra/local/parts.mjs";

type Primary = Awaited<ReturnType<typeof startRedis>>;

interface Pair {
  readonly primary: Primary;
  /** Between the two. */
  readonly link: FaultProxy;
  readonly replica: Node;
  readonly client: Redis;
}

const durability = { replicas: 1, timeoutMs: 200 };
const cookie = { originalMaxAge: null };

/** A primary, its replica, and a client of the primary. */
async function startPair(): Promise<Pair> {
  const primary = await startOwnRedis();
  const link = await FaultProxy.start(primary.port);
  onTestFinished(() => link.stop());
  const topology = await startReplica(link);
  onTestFinished(() => topology.stop());
  return { primary, link, replica: topology.replica, client: connect(primary.port) };
}

function open(
  client: Redis | ReturnType<typeof connectToCluster>,
  create = createSessions,
  more: object = {},
): Sessions {
  const sessions = create({ client, durability, ...more });
  onTestFinished(() => {
    sessions.close();
  });
  return sessions;
}

/** Stores a new session. @returns its id, once that is acknowledged */
async function born(sessions: Sessions, user = "ann"): Promise<string> {
  const id = randomUUID();
  await sessions.commit(sessions.born(id), { cookie, user });
  return id;
}

/** The first ACK of a replica that has just been synchronized takes a second. */
async function untilReplicated(sessions: Sessions): Promise<void> {
  await expect.poll(() => born(sessions).catch(() => undefined), { timeout: 10_000 }).toBeTypeOf("string");
}

/** As many writes as one may wait for, together. */
async function acknowledged(sessions: Sessions, count: number): Promise<string[]> {
  const results = await Promise.allSettled(Array.from({ length: count }, () => born(sessions)));
  return results.filter((result) => result.status === "fulfilled").map(({ value }) => value);
}

/** How many of these sessions the replica does not have when the primary is killed and it is promoted. */
async function lostWith(ids: readonly string[], { primary, replica }: Pair): Promise<number> {
  primary.kill("SIGKILL");
  await primary.exited;
  await replica.admin.replicaof("NO", "ONE");
  const promoted = open(replica.admin, createSessions, { durability: undefined });
  const found = await Promise.all(ids.map((id) => promoted.load(id)));
  return found.filter((session) => session === undefined).length;
}

it("acknowledges what a replica has", async () => {
  const pair = await startPair();
  const sessions = open(pair.client);
  await untilReplicated(sessions);
  const ids = await acknowledged(sessions, 200);
  expect(ids).toHaveLength(200);
  const onReplica = open(pair.replica.admin, createSessions, { durability: undefined });
  for (const id of ids) expect(await onReplica.load(id)).toBeDefined();
});

it("loses nothing that was acknowledged when the primary is killed", async () => {
  for (let round = 0; round < 3; round += 1) {
    const pair = await startPair();
    const sessions = open(pair.client);
    await untilReplicated(sessions);
    const writing = acknowledged(sessions, 400);
    // Some are on their way then.
    const first = await acknowledged(sessions, 50);
    pair.primary.kill("SIGKILL");
    expect(await lostWith([...first, ...(await writing)], pair)).toBe(0);
  }
});

const withoutDurability = async () => createSessions;
const without = (cut: Cut) => async () => {
  const copy = await copyWithoutRule("session-store", cut);
  return ((await import(`${copy}index.ts`)) as { createSessions: typeof createSessions }).createSessions;
};

it.each([
  { what: "nobody waits", load: withoutDurability, more: { durability: undefined } },
  {
    what: "the count is not looked at",
    load: without({
      name: "wait-count",
      file: "../redis-kit/src/lanes.ts",
      cut: "Number(count) < replicas",
      instead: "Number(count) < 0",
    }),
    more: {},
  },
  {
    what: "births do not wait",
    load: without({
      name: "commit-waits",
      file: "src/records.ts",
      cut: "commitRecord(this.#writes,",
      instead: "commitRecord(this.#commands,",
    }),
    more: {},
  },
])("is what keeps them: where $what, all are lost that a silent replica has not got", async ({ load, more }) => {
  const pair = await startPair();
  const sessions = open(pair.client, await load(), { commandDeadlineMs: 2_000, ...more });
  await untilReplicated(sessions);
  await pair.link.set("hold");
  const ids = await acknowledged(sessions, 20);
  expect(ids).toHaveLength(20);
  expect(await lostWith(ids, pair)).toBe(20);
});

it("says that the outcome is unknown where the replica is silent, reads on, and goes on when it answers", async () => {
  const { client, link } = await startPair();
  const events: SessionEvent[] = [];
  const sessions = open(client, createSessions, { onEvent: (event: SessionEvent) => events.push(event) });
  await untilReplicated(sessions);
  const id = await born(sessions);
  await link.set("hold");
  const tracked = await sessions.load(id);
  const fields = tracked && sessions.read(tracked);
  if (!tracked || !fields) throw new Error("It was stored.");
  fields["colour"] = "red";
  await expect(sessions.commit(tracked, fields)).rejects.toMatchObject({
    code: "OUTCOME_UNKNOWN",
    message: expect.stringContaining("0 of 1 replicas") as string,
  });
  await expect(sessions.destroy(randomUUID())).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
  expect(await sessions.load(id)).toBeDefined();

  // Nothing is written any more, which is a clear answer; reads are not held up.
  const refused = async () => (await born(sessions).catch((error: unknown) => error)) as { code?: string };
  await expect.poll(async () => (await refused()).code, { timeout: 10_000 }).toBe("UNAVAILABLE");
  expect(events).toContainEqual({ type: "durability-breaker", state: "open" });
  expect(events.some(({ type }) => type === "breaker")).toBe(false);
  expect(await sessions.load(id)).toBeDefined();

  await link.set("pass");
  await expect.poll(() => sessions.commit(tracked, fields).catch(() => "failed"), { timeout: 10_000 }).toBe("stored");
  const again = await sessions.load(id);
  expect(again && sessions.read(again)).toMatchObject({ user: "ann", colour: "red" });
  expect(events).toContainEqual({ type: "durability-breaker", state: "closed" });
});

it("connects again where its own connection is ended, and ends with the app's", async () => {
  const { client } = await startPair();
  const sessions = open(client);
  await untilReplicated(sessions);
  const connections = async () => Number(/connected_clients:(\d+)/.exec(await client.info("clients"))?.[1]);
  const before = await connections();
  await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
  await untilReplicated(sessions);
  expect(await connections()).toBe(before);
  sessions.close();
  await expect.poll(connections).toBe(before - 1);
  await expect(born(sessions)).rejects.toMatchObject({ code: "UNAVAILABLE" });
});

/** Sessions on all primaries of a Cluster, each of a user of its own. */
async function bornEverywhere(sessions: Sessions): Promise<string[]> {
  const ids: string[] = [];
  for (let number = 0; number < 60; number += 1) ids.push(await born(sessions, `user-${number}`));
  return ids;
}

it("works on a Cluster, through the failover of a primary,", async () => {
  const cluster = await startSixNodes();
  onTestFinished(() => cluster.stop());
  const client = connectToCluster(cluster);
  const sessions = open(client, createSessions, { userOf: ({ user }: { user?: string }) => user });
  const options = { timeout: 30_000 };
  let ids: string[] = [];
  await expect.poll(async () => (ids = await bornEverywhere(sessions).catch(() => [])), options).not.toEqual([]);
  const [primary] = cluster.primaries;
  primary?.process.kill("SIGKILL");
  await primary?.process.exited;
  // The one that takes its place has no replica, and acknowledges nothing, until it is back.
  await expect.poll(() => cluster.replicas[0]?.admin.role(), options).toContain("master");
  await primary?.start();
  await expect.poll(() => bornEverywhere(sessions).catch(() => []), options).not.toEqual([]);
  for (const id of ids) expect(await sessions.load(id)).toBeDefined();
  for (const [index] of ids.entries()) expect(await sessions.listForUser(`user-${index}`)).not.toEqual([]);
}, 60_000);

it("follows a slot of a Cluster that moves to another node, and after", async () => {
  const cluster = await startSixNodes();
  onTestFinished(() => cluster.stop());
  const client = connectToCluster(cluster, { retryDelayOnTryAgain: 5 });
  const sessions = open(client);
  const options = { timeout: 30_000 };
  await expect.poll(() => bornEverywhere(sessions).catch(() => []), options).not.toEqual([]);
  const id = await born(sessions);
  const tracked = await sessions.load(id);
  const fields = tracked && sessions.read(tracked);
  if (!tracked || !fields) throw new Error("It was stored.");
  const change = (step: string) => sessions.commit(tracked, Object.assign(fields, { step }));
  const key = `sess:h:${createHash("sha256").update(id).digest("base64url")}`;
  const move = moveOf(cluster, (await cluster.primaries[0]?.admin.cluster("KEYSLOT", key)) ?? 0);
  await move.begin();
  expect(await change("on its way")).toBe("stored");
  await move.carryOver();
  // Asked for it, the old node sends it to the new one (ASK), for this time.
  expect(await change("carried over")).toBe("stored");
  await move.end();
  // From now on, for good (MOVED).
  expect(await change("arrived")).toBe("stored");
  const again = await sessions.load(id);
  expect(again && sessions.read(again)).toMatchObject({ step: "arrived" });
}, 60_000);

it.each([
  [{ replicas: 0, timeoutMs: 100 }, "durability.replicas must be a whole number above 0"],
  [{ replicas: 1, timeoutMs: 0 }, "durability.timeoutMs must be a whole number above 0"],
  [{ replicas: 1, timeoutMs: 500 }, "durability.timeoutMs must be less than commandDeadlineMs"],
])("refuses %o", async (wrong, rule) => {
  const { port } = await startOwnRedis();
  expect(() => createSessions({ client: connect(port), durability: wrong })).toThrow(rule);
});
