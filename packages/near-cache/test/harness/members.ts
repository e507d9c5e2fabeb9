import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { expect, inject, onTestFinished, vi } from "vitest";
import { Copies } from "@lockstep/redis-kit";
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
export function connect(url = inject("redisUrl"), options: { keyPrefix?: string } = {}): Redis {
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
}

/** Joins, and leaves after the test. */
export async function joinAs({
  join = joinNearCache,
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
  const copies = new Copies({ maxEntries: 1_000, maxBytes: 1_000_000 });
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

export async function until(check: () => void | Promise<void>): Promise<void> {
  await vi.waitFor(check, { timeout: 10_000, interval: 5 });
}

/** Waits until the writes of a new generation need not wait any more. */
export async function untilSettled(...members: readonly TestMember[]): Promise<void> {
  for (const member of members) expect(await write(member, "settling")).toBe("revoked");
}
