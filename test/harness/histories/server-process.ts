import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { Rpc } from "../cache/rpc.ts";
import type { ServerMethods } from "./server.ts";
import type { ServerSettings } from "./settings.ts";

/** Loads and writes have deadlines of seconds: whatever is under way ends within this. */
const finishMs = 20_000;

/** One process of one server. */
export class ServerProcess {
  readonly settings: ServerSettings;
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  readonly #server: Rpc<ServerMethods>;

  /** @param program what `buildServer` has built */
  constructor(program: string, settings: ServerSettings) {
    this.settings = settings;
    this.#child = fork(program, [JSON.stringify(settings)]);
    // What is sent to a process that has just been killed fails; its `exit` tells of that.
    this.#server = new Rpc<ServerMethods>((batch) => void this.#child.send(batch, () => undefined), {});
    this.#child.on("message", (batch) => {
      this.#server.receive(batch);
    });
    this.exited = once(this.#child, "exit").then(() => {
      this.#server.end(new Error(`${settings.name} has ended.`));
    });
  }

  whenWriting(): Promise<void> {
    return this.#server.ask("whenWriting");
  }

  async block(ms: number): Promise<void> {
    await this.#server.ask("block", ms);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }

  /** Lets what is under way end, and ends it. @returns what has failed → how often @throws Error if that takes too long */
  async finish(): Promise<ReadonlyMap<string, number>> {
    const late = delay(finishMs, undefined, { ref: false }).then(() => {
      throw new Error(`${this.settings.name} did not finish within ${finishMs} ms.`);
    });
    const failures = await Promise.race([this.#server.ask("finish"), late]);
    await this.kill();
    return new Map(failures);
  }
}
