// The system of record of a history: registers in the memory of a process of its own. It numbers the writes of each key at the moment
// they take effect, notes them, and refuses those that come to it after their deadline.
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { nowNs } from "./clock.ts";
import { HistoryFile } from "./history-file.ts";
import { rpcOver } from "./line-rpc.ts";

/** What a server asks of the source. */
export type SourceMethods = {
  readonly load: (key: number) => Promise<number>;
  /**
   * @param server the number of the writing process @param writeId the number of the write there
   * @param deadlineNs on the clock of `nowNs` @param holdMs how long it takes to come into effect
   * @returns the version that it has become
   * @throws Error after the deadline: it has no effect
   */
  readonly write: (key: number, server: number, writeId: number, deadlineNs: number, holdMs: number) => Promise<number>;
};

const [port, path] = process.argv.slice(2);
if (path === undefined) throw new Error("A port and a file for the history are needed.");
const history = new HistoryFile(path);
const versions = new Map<number, number>();

const methods: SourceMethods = {
  // Before and after the moment of truth, so that what is read may be old when it arrives.
  load: async (key) => {
    await delay(Math.random() * 4);
    const version = versions.get(key) ?? 0;
    await delay(Math.random() * 4);
    return version;
  },
  write: async (key, server, writeId, deadlineNs, holdMs) => {
    const calledAt = nowNs();
    await delay(holdMs);
    const returnedAt = nowNs();
    if (returnedAt > deadlineNs) throw new Error("The deadline of the write has passed.");
    const version = (versions.get(key) ?? 0) + 1;
    versions.set(key, version);
    history.add({ kind: "commit", key, calledAt, returnedAt, version, writeId, by: server, near: false });
    await delay(Math.random() * 8);
    return version;
  },
};

const listener = createServer((socket) => void rpcOver(socket, methods));
listener.listen(Number(port), "127.0.0.1", () => console.log("source listening"));

process.on("SIGTERM", () => {
  history.close();
  process.exit();
});
