import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { OpenRequest, Reply, Request, Run, RunRequest } from "./client-process.ts";

/** Longer than the longest answer, which is an opening that waits until Redis may be used for caching. */
const answerTimeoutMs = 30_000;
const stopTimeoutMs = 5_000;

/** The parent's end of a product in a process of its own. */
export class ProductProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(name: string) {
    this.name = name;
    // Beside this file once both are built; "advanced" carries typed arrays.
    const program = fileURLToPath(new URL("./client-process.js", import.meta.url));
    this.#child = fork(program, [name], { serialization: "advanced" });
    this.#exited = once(this.#child, "exit");
  }

  async open(request: Omit<OpenRequest, "ask">): Promise<void> {
    await this.#ask({ ask: "open", ...request });
  }

  async run(request: Omit<RunRequest, "ask">): Promise<Run> {
    const run = await this.#ask({ ask: "run", ...request });
    if (run === undefined) throw new Error(`${this.name} answered without its figures.`);
    return run;
  }

  async close(): Promise<void> {
    await this.#ask({ ask: "close" });
  }

  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const overdue = setTimeout(() => this.#child.kill("SIGKILL"), stopTimeoutMs);
    await this.#exited;
    clearTimeout(overdue);
  }

  async #ask(request: Request): Promise<Run | undefined> {
    if (!this.#child.connected) throw new Error(`The process of ${this.name} has ended.`);
    const settled = new AbortController();
    const { signal } = settled;
    const late = setTimeout(() => this.#child.kill("SIGKILL"), answerTimeoutMs);
    try {
      this.#child.send(request);
      const ended = once(this.#child, "exit", { signal }).then(() => {
        throw new Error(`The process of ${this.name} ended, or was ended after ${answerTimeoutMs / 1000} s.`);
      });
      const [reply] = (await Promise.race([once(this.#child, "message", { signal }), ended])) as [Reply];
      if ("failure" in reply) throw new Error(reply.failure);
      return reply.run;
    } finally {
      clearTimeout(late);
      settled.abort();
    }
  }
}
