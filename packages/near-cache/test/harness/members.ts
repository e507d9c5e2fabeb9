import { randomUUID } from "node:crypto";
import { Redis, type RedisOptions } from "ioredis";
import { expect, inject, onTestFinished, vi } from "vitest";
import { Copies } from "@lockstep/redis-kit";
import { FaultProxy } from "../../../../test/harness/fault-proxy.ts";
import { type JoinOptions, type NearCache, type NearEvent, joinNearCache } from "../../src/index.ts";

/** A server in a group: its membership, and a store of copies that it holds. */
export interface TestMember {
  readonly near: NearCache;
  readonly client: Redis;
  readonly copies: Copies;
  readonly events: readonly NearEvent[];
}

export function uniqueGroup(): string {
  return `test-${randomUUID()}`;
}

/** A client of the tests' Redis, or of one of the test's own, closed after the test. */
export function connect(url = inject("redisUrl"), options: Omit<RedisOptions, "replyMapping"> = {}): Redis {
  const client = new Redis(url, { protocol: 2, retryStrategy: () => 20, ...options });
  client.on("error", () => undefined); // servers that are stopped on purpose
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

export interface MemberOptions extends Partial<JoinOptions> {
  /** Of a copy of the package, with a rule cut out. */
  readonly join?: typeof joinNearCache;
  /** The same for its store of copies. */
  readonly Store?: typeof Copies;
}

/** Joins, and leaves after the test. */
export async function joinAs({
  join = joinNearCache,
  Store = Copies,
  ...given
}: MemberOptions & { group: string }): Promise<TestMember> {
  const events: NearEvent[] = [];
  const client = (given.client as Redis | undefined) ?? connect();
  const near = await join({
    client,
    leaseMs: 300,
    onEvent: (event) => events.push(event),
    ...given,
  });
  onTestFinished(() => near.close());
  const copies = new Store({ maxEntries: 1_000, maxBytes: 1_000_000 });
  near.hold(copies);
  return { near, client, copies, events };
}

/** Puts a copy there, as a read would whose reply has just come. */
export function keepCopy({ copies }: TestMember, key: string, value: unknown = 1): void {
  copies.keep(copies.reserve(key), { value, bytes: 1, endsAt: Infinity, onEvicted: () => undefined });
}

/** What the server would answer from memory. */
export function served({ near, copies }: TestMember, key: string): unknown {
  const copy = copies.get(key);
  return copy !== undefined && near.mayServe() ? copy.value : undefined;
}

/** A write of a key, as far as the group has to do with it. */
export async function write({ near, copies }: TestMember, key: string, withinMs = 5_000) {
  const joining = await near.joining(withinMs);
  copies.revoke(key);
  return near.revoke(joining, { keys: [key] }, withinMs);
}

export async function until(check: () => void | Promise<void>, timeout = 10_000): Promise<void> {
  await vi.waitFor(check, { timeout, interval: 5 });
}

/** Waits until the writes of a new generation need not wait any more. */
export async function untilSettled(...members: readonly TestMember[]): Promise<void> {
  for (const member of members) await until(async () => expect(await write(member, "settling")).toBe("revoked"));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What happens to the traffic between a member and its Redis is for the test to say. */
export async function startProxy(url = inject("redisUrl")): Promise<FaultProxy & { readonly url: string }> {
  const proxy = await FaultProxy.start(Number(new URL(url).port));
  onTestFinished(() => proxy.stop());
  return Object.assign(proxy, { url: `redis://127.0.0.1:${proxy.port}` });
}

/** The group's hash, in Redis as the tests' client sees it. */
export function groupKey(group: string): string {
  return `lockstep:near:1:{${group}}`;
}

/** The rows of the members. */
export async function rowsOf(client: Redis, group: string): Promise<Record<string, string>> {
  const hash = await client.hgetall(groupKey(group));
  return Object.fromEntries(Object.entries(hash).filter(([name]) => name.startsWith("member:")));
}

/** Waits for a renewal, so that nearly a whole lease is left. */
export async function untilRenewed({ near }: TestMember): Promise<void> {
  const { renewals } = near.counts();
  await until(() => expect(near.counts().renewals).toBeGreaterThan(renewals));
}

/** Ends the connections of one group's members. */
export async function killMembers(client: Redis, group: string): Promise<void> {
  for (const line of String(await client.client("LIST")).split("\n")) {
    const name = /^id=(\d+) .* name=(\S*) /.exec(line);
    if (name?.[2] === group) await client.client("KILL", "ID", Number(name[1]));
  }
}
