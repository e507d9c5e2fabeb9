import { Cluster } from "ioredis";
import slotOf from "cluster-key-slot";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { startOwnCluster } from "../../redis-kit/test/harness/redis.ts";
import {
  type Node,
  type SentinelSet,
  type SixNodes,
  connectBySentinel,
  connectToCluster,
  startSentinelSet,
  startSixNodes,
} from "../../redis-kit/test/harness/topologies.ts";
import {
  type TestMember,
  groupKey,
  joinAs,
  keepCopy,
  served,
  uniqueGroup,
  until,
  untilSettled,
  write,
} from "./harness/members.ts";

const leaseMs = 500;

/** Each writes, and the others must not serve what it replaced. */
async function expectCoherent(...members: readonly TestMember[]): Promise<void> {
  for (const writer of members) {
    await until(() => {
      for (const { near } of members) expect(near.mayServe()).toBe(true);
    });
    for (const member of members) keepCopy(member, "k");
    await until(async () => expect(await write(writer, "k").catch(() => "failed")).toBe("revoked"));
    for (const member of members) expect(served(member, "k")).toBeUndefined();
  }
}

describe("a Cluster of one node", () => {
  it("carries a group, with the client's prefix", async () => {
    const { port } = await startOwnCluster();
    const group = uniqueGroup();
    const members = [];
    for (let index = 0; index < 2; index += 1) {
      const client = new Cluster([{ host: "127.0.0.1", port }], { keyPrefix: "app:" });
      onTestFinished(() => {
        client.disconnect();
      });
      members.push(await joinAs({ group, leaseMs, client }));
    }
    await untilSettled(...members);
    await expectCoherent(...members);
  });
});

describe("a Cluster of six nodes", () => {
  let cluster: SixNodes;

  beforeAll(async () => {
    cluster = await startSixNodes();
  }, 60_000);

  afterAll(() => cluster.stop());

  async function openPair() {
    const group = uniqueGroup();
    const a = await joinAs({ group, leaseMs, client: connectToCluster(cluster) });
    const b = await joinAs({ group, leaseMs, client: connectToCluster(cluster) });
    await untilSettled(a, b);
    await expectCoherent(a, b);
    return { a, b, slot: slotOf(groupKey(group)) };
  }

  it("carries a group whose slot moves to another node", async () => {
    const { a, b, slot } = await openPair();
    const from = ownerOf(cluster, slot);
    const [to] = cluster.primaries.filter((node) => node !== from);
    if (to === undefined) throw new Error("There is one primary alone.");
    keepCopy(a, "k");
    await moveSlot(slot, from, to, cluster.primaries);
    await until(() => expect(Math.min(a.near.counts().joins, b.near.counts().joins)).toBeGreaterThan(1));
    expect(served(a, "k")).toBeUndefined();
    await expectCoherent(a, b);
    await moveSlot(slot, to, from, cluster.primaries);
    await expectCoherent(a, b);
  }, 60_000);

  it("carries a group whose primary is failed over", async () => {
    const { a, b, slot } = await openPair();
    const { generation } = b.near.status();
    const primary = ownerOf(cluster, slot);
    const replica = cluster.replicas[cluster.primaries.indexOf(primary)];
    await replica?.admin.cluster("FAILOVER");
    await until(() => expect(b.near.status().generation ?? generation).not.toBe(generation));
    await until(() => expect(a.near.status().generation).toBe(b.near.status().generation));
    await expectCoherent(a, b);
  }, 60_000);
});

function ownerOf({ primaries }: SixNodes, slot: number): Node {
  const node = primaries[slot <= 5_460 ? 0 : slot <= 10_922 ? 1 : 2];
  if (node === undefined) throw new Error("The Cluster has too few primaries.");
  return node;
}

async function moveSlot(slot: number, from: Node, to: Node, primaries: readonly Node[]): Promise<void> {
  const [fromId, toId] = [await from.admin.cluster("MYID"), await to.admin.cluster("MYID")];
  await to.admin.cluster("SETSLOT", slot, "IMPORTING", fromId);
  await from.admin.cluster("SETSLOT", slot, "MIGRATING", toId);
  for (const key of await from.admin.cluster("GETKEYSINSLOT", slot, 100)) {
    await from.admin.call("MIGRATE", "127.0.0.1", to.port, key, 0, 5_000);
  }
  for (const { admin } of [to, from, ...primaries]) await admin.cluster("SETSLOT", slot, "NODE", toId);
}

describe("a primary behind Sentinel", () => {
  let set: SentinelSet;

  beforeAll(async () => {
    set = await startSentinelSet();
  }, 60_000);

  afterAll(() => set.stop());

  it("carries a group over a failover", async () => {
    const group = uniqueGroup();
    const a = await joinAs({ group, leaseMs, client: connectBySentinel(set) });
    const b = await joinAs({ group, leaseMs, client: connectBySentinel(set) });
    await untilSettled(a, b);
    await expectCoherent(a, b);
    const { generation } = b.near.status();
    const before = await set.primary();
    await set.failOver();
    await until(async () => expect(await set.primary()).not.toBe(before));
    // The old primary takes itself for one for eight seconds and more: the members stay with it together until then.
    await until(() => expect(b.near.status().generation ?? generation).not.toBe(generation), 30_000);
    await until(() => expect(a.near.status().generation).toBe(b.near.status().generation), 30_000);
    await expectCoherent(a, b);
  }, 60_000);
});
