import { setTimeout as pause } from "node:timers/promises";
import type { Driver } from "./drivers/driver.ts";
import { type OnEvent, tell } from "./events.ts";

/** How often marks of dead writers are looked for, and the pause after each batch of keys. */
const everyMs = 60_000;
const pauseMs = 100;

/** C8: looks for the marks of dead writers, now and then. */
export class Sweep {
  readonly #driver: Pick<Driver, "sweep">;
  readonly #onEvent: OnEvent;
  readonly #closed = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(driver: Pick<Driver, "sweep">, onEvent: OnEvent) {
    this.#driver = driver;
    this.#onEvent = onEvent;
    this.#plan();
  }

  close(): void {
    this.#closed.abort();
    clearTimeout(this.#timer);
  }

  /** The next walk begins when one has ended, however long the keys of others make it. */
  #plan(): void {
    this.#timer = setTimeout(() => void this.#run(), everyMs).unref();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    try {
      await this.#driver.sweep(() => pause(pauseMs, undefined, { signal, ref: false }));
    } catch (error) {
      if (!signal.aborted) tell(this.#onEvent, { type: "sweep-failed", error });
    }
    if (!signal.aborted) this.#plan();
  }
}
