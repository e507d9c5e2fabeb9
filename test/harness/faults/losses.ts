import { setTimeout as delay } from "node:timers/promises";
import { Client, type Answer } from "../client.ts";
import { eventually } from "../eventually.ts";
import { type SessionStack, type Stack, startStack } from "../stack.ts";
import type { Begun, FaultTopology } from "./fault.ts";
import { clusterFailover, primaryKilled, primaryKilledBehind, sentinelFailover } from "./on-failover.ts";

/** How many people change their sessions, each as fast as they are answered. */
const writers = 32;

/** How long before the failover, and from then on, in ms. */
const [calmMs, afterMs] = [2_000, 12_000];

/** Another server in the place of a primary, and how it comes to that. */
interface Failover {
  readonly name: string;
  readonly topology: FaultTopology;
  begin(stack: Stack): Promise<Begun>;
}

export const failovers: readonly Failover[] = [
  { name: "planned", topology: "sentinel", begin: sentinelFailover },
  { name: "killed", topology: "sentinel", begin: primaryKilled },
  { name: "killed, its replicas 200 ms behind", topology: "sentinel", begin: primaryKilledBehind },
  { name: "planned", topology: "cluster", begin: clusterFailover },
  { name: "killed", topology: "cluster", begin: primaryKilled },
  { name: "killed, its replica 200 ms behind", topology: "cluster", begin: primaryKilledBehind },
];

/** What changes of sessions are acknowledged by. */
interface Setting {
  readonly name: string;
  readonly sessionStack: SessionStack;
  readonly stateReplicas: number;
}

/** The settings that a topology has. */
export function settingsOf(topology: FaultTopology): readonly Setting[] {
  const ours = { sessionStack: "middleware" } as const;
  return [
    { name: "connect-redis", sessionStack: "connect-redis", stateReplicas: 0 },
    { name: "Lockstep", ...ours, stateReplicas: 0 },
    { name: "Lockstep, `replicas: 1`", ...ours, stateReplicas: 1 },
    ...(topology === "sentinel" ? [{ name: "Lockstep, `replicas: 2`", ...ours, stateReplicas: 2 }] : []),
  ];
}

/** What became of changes that were acknowledged. */
export interface LossResult {
  readonly failover: string;
  readonly topology: FaultTopology;
  readonly setting: string;
  readonly acknowledged: number;
  /** Of these, those that are not there. */
  readonly lost: number;
  /** Answers that said that it failed, and requests without any. */
  readonly failures: number;
  readonly longestMs: number;
  /** From the failover to the last failure. */
  readonly backMs: number;
}

/** Changes sessions through nginx while another server takes the place of a primary, and counts what is missing afterwards. */
export async function runLoss(failover: Failover, setting: Setting, databaseUrl: string): Promise<LossResult> {
  const { sessionStack, stateReplicas } = setting;
  const { topology } = failover;
  const stack = await startStack({ topology, sessionStack, stateReplicas, databaseUrl });
  try {
    const clients: Client[] = [];
    for (let number = 0; number < writers; number += 1) clients.push(await signedIn(stack));
    const over = new AbortController();
    const writing = clients.map((client) => write(client, stack, over.signal));
    await delay(calmMs);
    const begunAt = performance.now();
    const { end, seen } = await failover.begin(stack);
    await delay(afterMs);
    if ((await seen()) === 0) throw new Error("There was no failover.");
    over.abort();
    const written = await Promise.all(writing);
    let lost = 0;
    for (const [index, client] of clients.entries()) {
      const there = await marksOf(client, stack);
      lost += written[index]?.acknowledged.filter((mark) => !there.has(mark)).length ?? 0;
    }
    await end?.();
    const sum = (of: (each: Written) => number) => written.reduce((total, each) => total + of(each), 0);
    return {
      failover: failover.name,
      topology,
      setting: setting.name,
      acknowledged: sum((each) => each.acknowledged.length),
      lost,
      failures: sum((each) => each.failures),
      longestMs: Math.max(...written.map((each) => each.longestMs)),
      backMs: Math.max(0, ...written.map((each) => each.lastFailureAt - begunAt)),
    };
  } finally {
    await stack.stop();
  }
}

async function signedIn({ nginx }: Stack): Promise<Client> {
  const client = new Client();
  await eventually("somebody is signed in", () =>
    client.signIn(nginx).then(
      () => true,
      () => false,
    ),
  );
  return client;
}

interface Written {
  readonly acknowledged: readonly string[];
  readonly failures: number;
  readonly longestMs: number;
  readonly lastFailureAt: number;
}

/** Adds one preference after the other: each change leaves a mark that later ones do not cover. */
async function write(client: Client, { nginx }: Stack, over: AbortSignal): Promise<Written> {
  const acknowledged: string[] = [];
  let [failures, longestMs, lastFailureAt] = [0, 0, -Infinity];
  for (let number = 1; !over.aborted; number += 1) {
    const mark = `m${number}`;
    const begunAt = performance.now();
    let answer: Answer | undefined;
    try {
      answer = await client.request("PUT", `${nginx}/api/preferences/${mark}`, { json: { value: 1 } });
    } catch {
      // Without an answer nothing was acknowledged.
    }
    const now = performance.now();
    longestMs = Math.max(longestMs, now - begunAt);
    if (answer !== undefined && answer.status < 300) acknowledged.push(mark);
    else {
      failures += 1;
      lastFailureAt = now;
      await delay(20);
    }
  }
  return { acknowledged, failures, longestMs, lastFailureAt };
}

/** What is in a session of what was added; nothing, if it is gone. */
async function marksOf(client: Client, { servers }: Stack): Promise<ReadonlySet<string>> {
  let marks: string[] = [];
  const isRead = async () => {
    const { status, body } = await client.request("GET", `${servers[0] ?? ""}/api/preferences`);
    if (status === 200) marks = Object.keys(body as object);
    return status < 500;
  };
  await eventually("a session can be read again", isRead, { withinMs: 20_000, everyMs: 100 });
  return new Set(marks);
}
