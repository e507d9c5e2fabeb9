// One server of a test: a real process with a write-behind collection. Its source is in the test's process.
import { type Cache, type WriteBehindCollection, createCache } from "@lockstep/cache";
import { Redis } from "ioredis";
import { Rpc } from "./rpc.ts";

/** A row as it travels between processes. */
export interface SavedRow {
  readonly id: string;
  readonly value: number | undefined;
  readonly version: number;
}

/** How a server opens its collection. */
export interface WriteBehindSettings {
  readonly redisUrl: string;
  readonly name: string;
  readonly saveTimeoutMs: number;
  readonly flushAfterMs: number;
  readonly ttlMs: number;
  readonly maxAttempts?: number;
  /** Its client sends each script twice, as one does that has lost its connection before the answer. */
  readonly sendsTwice?: boolean;
}

/** What a server asks of the test. `leftMs`: until the deadline, which the source enforces. */
export type WriteBehindTestMethods = {
  readonly load: (id: string) => Promise<number | undefined>;
  readonly save: (rows: readonly SavedRow[], leftMs: number) => Promise<void>;
};

/** What a test asks of a server. */
export type WriteBehindWorkerMethods = typeof methods;

let cache: Cache | undefined;
let opened: WriteBehindCollection<number> | undefined;

const methods = {
  open: ({ redisUrl, name, sendsTwice, ...settings }: WriteBehindSettings): void => {
    cache = createCache({ client: connect(redisUrl, sendsTwice === true), name, deadlineMs: 2_000 });
    opened = cache.collection<number>("row", {
      writePolicy: "write-behind",
      load: (id) => test.ask("load", id),
      save: (rows, { deadline }) => test.ask("save", rows, deadline - performance.now()),
      ...settings,
    });
  },
  set: async (id: string, value: number | undefined) => rows().set(id, value),
  increment: async (id: string) => rows().increment(id),
  get: async (id: string) => rows().get(id),
  backlog: async () => rows().backlog(),
  drain: async (timeoutMs: number) => rows().drain({ timeoutMs }),
  counts: () => rows().counts(),
};

const test = new Rpc<WriteBehindTestMethods>((batch) => process.send?.(batch), methods);
process.on("message", (batch) => {
  test.receive(batch);
});
// A test that died has closed its end.
process.on("disconnect", () => process.exit());

function rows(): WriteBehindCollection<number> {
  if (opened === undefined) throw new Error("The collection is not open.");
  return opened;
}

function connect(redisUrl: string, sendsTwice: boolean): Redis {
  const client = new Redis(redisUrl, { protocol: 2 });
  client.on("error", () => undefined); // the outage
  if (!sendsTwice) return client;
  const send = client.evalsha.bind(client) as (...args: unknown[]) => Promise<unknown>;
  const twice = async (...args: unknown[]) => {
    await send(...args);
    return send(...args);
  };
  return Object.assign(client, { evalsha: twice });
}
