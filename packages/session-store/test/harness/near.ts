import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import { expect, onTestFinished, vi } from "vitest";
import type { Near } from "@lockstep/redis-kit";
import { type NearCache, joinNearCache } from "@lockstep/near-cache";
import type { SessionsOptions, createSessions } from "../../src/index.ts";
import { startEngine } from "./engine.ts";
import { intercept, uniquePrefix } from "./redis.ts";

/** A server that is in a group of near copies. */
export interface NearEngine extends ReturnType<typeof startEngine> {
  readonly near: NearCache;
  readonly client: Redis;
}

export interface GroupOptions extends Partial<SessionsOptions> {
  /** What is put in front of the membership of a server: the first is 0. */
  readonly wrap?: (near: NearCache, index: number) => Near;
  /** Of a copy of the package, with a rule cut out. */
  readonly create?: typeof createSessions;
  readonly leaseMs?: number;
}

/** Opens servers of one group and prefix, past the time in which a new group holds writes up. */
export async function openGroup(clients: readonly Redis[], options: GroupOptions = {}): Promise<NearEngine[]> {
  const { wrap, create, leaseMs = 300, prefix = uniquePrefix(), ...others } = options;
  const group = `test-${randomUUID()}`;
  const engines: NearEngine[] = [];
  for (const [index, client] of clients.entries()) {
    const near = await joinNearCache({ client, group, leaseMs });
    onTestFinished(() => near.close());
    const engine = startEngine(client, { prefix, ...others, near: wrap ? wrap(near, index) : near }, create);
    engines.push({ ...engine, near, client });
  }
  const [first] = engines;
  await first?.create("settling", { n: 0 });
  await first?.change("settling", { n: 1 });
  return engines;
}

/** The membership with some of its methods replaced: to hold one up, or to have it fail. */
export function nearWith(near: Near, replaced: Partial<Near>): Near {
  return new Proxy(near, {
    get(target, name) {
      if (name in replaced) return Reflect.get(replaced, name) as unknown;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** The same client, which hears the answers to its scripts late while they are held. */
export function holdReplies(client: Redis) {
  let gate: { readonly arrive: () => void; readonly opened: Promise<void> } | undefined;
  const held = intercept(client, async (send) => {
    const holding = gate;
    const reply = await send();
    holding?.arrive();
    await holding?.opened;
    return reply;
  });
  const hold = () => {
    let arrive: () => void = () => undefined;
    let open: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const opened = new Promise<void>((resolve) => (open = resolve));
    gate = { arrive, opened };
    const release = () => {
      gate = undefined;
      open();
    };
    return { arrived, release };
  };
  return { held, hold };
}

/** Loads until that is answered from memory. */
export async function untilCopied(id: string, ...engines: readonly NearEngine[]): Promise<void> {
  for (const { sessions } of engines) {
    await until(async () => {
      const before = sessions.counts()["near-hit"];
      await sessions.load(id);
      expect(sessions.counts()["near-hit"]).toBe(before + 1);
    });
  }
}

/** How many of these loads are answered from memory. */
export async function nearHits({ sessions }: NearEngine, id: string, loads: number): Promise<number> {
  const before = sessions.counts()["near-hit"];
  for (let load = 0; load < loads; load += 1) await sessions.load(id);
  return sessions.counts()["near-hit"] - before;
}

export async function until(check: () => void | Promise<void>): Promise<void> {
  await vi.waitFor(check, { timeout: 10_000, interval: 5 });
}

/** Waits by the clock, where time itself is what is tested. */
export async function after(ms: number): Promise<void> {
  const end = performance.now() + ms;
  await until(() => expect(performance.now()).toBeGreaterThan(end));
}

/** The key of a session's record, and that of its mark. */
export function keysOf({ prefix, sessions }: Pick<NearEngine, "prefix" | "sessions">, id: string) {
  const record = `${prefix}h:${sessions.handleOf(id)}`;
  return { record, mark: `{${record}}:pending` };
}
