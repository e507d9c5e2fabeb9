// One server of a history: clients inside it read and write registers through a cache, and note what they see.
import { connect } from "node:net";
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { type Collection, createCache } from "@lockstep/cache";
import { joinNearCache } from "@lockstep/near-cache";
import { Redis } from "ioredis";
import { Rpc } from "../cache/rpc.ts";
import { nowNs } from "./clock.ts";
import { HistoryFile } from "./history-file.ts";
import { rpcOver } from "./line-rpc.ts";
import { gone, never } from "./linearizability.ts";
import { cacheName, collectionType, leaseMs, pendingMs, type ServerSettings } from "./settings.ts";
import type { SourceMethods } from "./source-process.ts";

interface Register {
  readonly version: number;
}

/** What a run asks of a server. */
export type ServerMethods = typeof methods;

const settings = JSON.parse(process.argv[2] ?? "") as ServerSettings;
const { number, keys, clients, coherence } = settings;
const history = new HistoryFile(settings.historyPath);
const flushing = setInterval(() => history.flush(), 100);
/** What has failed, and with which code → how often. */
const failures = new Map<string, number>();
const waiting: (() => void)[] = [];
const state = { writes: 0, isStopping: false };

const sourceSocket = connect(settings.sourcePort, "127.0.0.1");
const source = rpcOver<SourceMethods>(sourceSocket, {});
const redis = new Redis(settings.redisUrl, {
  connectionName: settings.name,
  protocol: 3,
  connectTimeout: 1_000,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  retryStrategy: (attempt) => Math.min(attempt * 50, 500),
});
// The cache answers for an outage; without a listener ioredis prints each error.
redis.on("error", () => undefined);

const near =
  coherence === "near"
    ? await joinNearCache({ client: redis, group: cacheName, label: settings.name, leaseMs })
    : undefined;
const cache = createCache({ client: redis, name: cacheName, near });
const registers: Collection<Register, number> = cache.collection<Register, number>(collectionType, {
  load: async (key) => ({ version: await source.ask("load", key) }),
  ttlMs: 60_000,
  pendingMs,
  commitDeadlineMs: pendingMs * 0.9,
  ...(coherence === "bounded" ? { coherence, copyMs: 50 } : {}),
});
const running = Promise.all(Array.from({ length: clients }, (_, client) => runClient(client + 1)));

const methods = {
  /** Returns as soon as a write is on its way to the source that will be pending for a while. */
  whenWriting: () => new Promise<void>((resolve) => void waiting.push(resolve)),
  block: (ms: number): void => {
    const until = performance.now() + ms;
    while (performance.now() < until);
  },
  /** Lets what is under way end. */
  finish: async () => {
    state.isStopping = true;
    await running;
    clearInterval(flushing);
    history.close();
    cache.close();
    await near?.close();
    redis.disconnect();
    sourceSocket.destroy();
    return [...failures];
  },
};
const test = new Rpc<Record<string, never>>((batch) => process.send?.(batch), methods);
process.on("message", (batch) => {
  test.receive(batch);
});
// A test that died has closed its end.
process.on("disconnect", () => process.exit());

async function runClient(client: number): Promise<void> {
  // Two operations on average, and then a pause.
  const pauseMs = (2_000 * clients) / settings.operationsPerSecond;
  while (!state.isStopping) {
    await delay(Math.random() * 2 * pauseMs);
    // Some at once, with a turn of the event loop between them: what is near is read again at once, too.
    for (let left = Math.floor(Math.random() * 3); left >= 0; left -= 1) {
      await operate(client);
      await turn();
    }
  }
}

/** Some keys are busier than others. */
function operate(client: number): Promise<void> {
  const key = Math.floor(Math.random() ** 2 * keys);
  return Math.random() < settings.writeShare ? write(key, client) : read(key, client);
}

async function read(key: number, by: number): Promise<void> {
  const calledAt = nowNs();
  try {
    const { value, from } = await registers.lookup(key);
    const near = from === "near";
    history.add({
      kind: "read",
      key,
      calledAt,
      returnedAt: nowNs(),
      version: value?.version ?? gone,
      writeId: 0,
      by,
      near,
    });
  } catch (error) {
    noteFailure("read", error);
  }
}

async function write(key: number, by: number): Promise<void> {
  state.writes += 1;
  const writeId = state.writes;
  const calledAt = nowNs();
  const progress = { isSent: false };
  let version: number | undefined;
  let returnedAt = never;
  try {
    const written = await registers.update(key, async ({ deadline }) => {
      progress.isSent = true;
      const deadlineNs = nowNs() + (deadline - performance.now()) * 1e6;
      return { version: await source.ask("write", key, number, writeId, deadlineNs, holdMs()) };
    });
    version = written?.version;
    returnedAt = nowNs();
  } catch (error) {
    noteFailure("write", error);
  }
  // Where it was refused before it was sent nothing has happened; otherwise the source knows.
  if (progress.isSent) history.add({ kind: "write", key, calledAt, returnedAt, version, writeId, by, near: false });
}

function noteFailure(what: string, error: unknown): void {
  const { code = "of the source" } = error as { code?: string };
  const name = `${what}: ${code}`;
  failures.set(name, (failures.get(name) ?? 0) + 1);
}

/** How long the source is to take. One write in ten is slow, and faults strike during those. */
function holdMs(): number {
  if (Math.random() > 0.1) return 2 + Math.random() * 10;
  for (const resolve of waiting.splice(0)) resolve();
  return 100 + Math.random() * 200;
}
