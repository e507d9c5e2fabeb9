import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../eventually.ts";
import { type Deployment, entryKeys, type Server } from "./deployment.ts";
import { collectionType } from "./settings.ts";

/** Something that goes wrong in a deployment. */
export interface Fault {
  readonly name: string;
  /** Does it at once, and returns once it is over. */
  readonly strike: () => Promise<void>;
}

export interface FaultTimes {
  readonly stoppedMs: number;
  readonly blackHoleMs: number;
  readonly blockedMs: number;
}

/** For how long entries are evicted again and again, at the longest, and how often. */
const evictingMs = 300;
const longestEvictingMs = 10_000;
const evictEveryMs = 5;

/** All of them. Servers take turns as victims. */
export function faultsOf(deployment: Deployment, times: FaultTimes): Fault[] {
  const { servers } = deployment;
  let turn = 0;
  const victim = (): Server => servers[(turn += 1) % servers.length] as Server;
  const ofGroup: Fault = { name: "near connection dropped", strike: () => dropConnection(deployment, victim()) };
  return [
    { name: "entries evicted", strike: () => evict(deployment, "entries") },
    { name: "fill tokens evicted", strike: () => evict(deployment, "fill tokens") },
    { name: "server stopped and continued", strike: () => stop(victim(), times.stoppedMs) },
    { name: "server killed and started", strike: () => killAndStart(deployment, victim()) },
    { name: "server blocked", strike: () => victim().process.block(times.blockedMs) },
    { name: "server cut off from Redis", strike: () => cutOff(victim(), times.blackHoleMs) },
    // Evictions come long after it: nothing is cached while its epoch is young.
    { name: "Redis killed and started empty", strike: () => deployment.restartRedis() },
    { name: "servers restarted in turn", strike: () => restartInTurn(deployment) },
    ...(deployment.coherence === "near" ? [ofGroup] : []),
  ];
}

async function stop({ process }: Server, ms: number): Promise<void> {
  process.signal("SIGSTOP");
  try {
    await delay(ms);
  } finally {
    process.signal("SIGCONT");
  }
}

async function killAndStart(deployment: Deployment, server: Server): Promise<void> {
  await server.process.kill();
  deployment.restart(server);
}

async function cutOff({ proxy }: Server, ms: number): Promise<void> {
  await proxy.set("hold");
  try {
    await delay(ms);
  } finally {
    await proxy.set("pass");
  }
}

async function restartInTurn(deployment: Deployment): Promise<void> {
  for (const server of deployment.servers) {
    await deployment.finish(server);
    deployment.restart(server);
  }
}

/** Marks have no expiry, so that no Redis that is set up as it should be evicts them. What is near may stay: it is revoked all the same. */
async function evict(deployment: Deployment, what: "entries" | "fill tokens"): Promise<void> {
  const startedAt = performance.now();
  let evicted = 0;
  for (let ms = 0; ms < evictingMs || evicted === 0; ms = performance.now() - startedAt) {
    if (ms > longestEvictingMs) throw new Error(`There were no ${what} to evict for ${longestEvictingMs} ms.`);
    const entries = await deleted(deployment, "v");
    evicted += what === "entries" ? entries : 0;
    await delay(evictEveryMs);
    if (what === "fill tokens") evicted += await deleted(deployment, "f");
  }
}

/** An entry's text is its epoch, of 16 digits, a space, and a letter that says what it is. */
const deletion = `
local deleted = 0
for _, key in ipairs(KEYS) do
  local text = redis.call("GET", key)
  if text and text:sub(18, 18) == ARGV[1] then deleted = deleted + redis.call("DEL", key) end
end
return deleted`;

async function deleted({ redis, keys }: Deployment, letter: "v" | "f"): Promise<number> {
  const names = entryKeys(keys, collectionType);
  return Number(await redis.eval(deletion, names.length, ...names, letter));
}

/** The connection that brings a server what the others revoke; its other one stays. */
async function dropConnection(deployment: Deployment, { name }: Server): Promise<void> {
  await eventually(`${name} listens`, () => dropListener(deployment, name));
}

/** @returns whether there was one */
async function dropListener({ redis }: Deployment, name: string): Promise<boolean> {
  const clients = (await redis.client("LIST")) as string;
  const listener = clients.split("\n").find((line) => line.includes(` name=${name} `) && !line.includes(" ssub=0 "));
  const id = /^id=(\d+)/.exec(listener ?? "")?.[1];
  return id !== undefined && (await redis.client("KILL", "ID", id)) === 1;
}
