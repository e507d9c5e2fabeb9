import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { findFaketime } from "../../infra/local/prerequisites.mjs";

/** The wall clocks of processes, each of which can be put forward or back while it runs: libfaketime tells them the time. */
export class Clocks {
  readonly #directory: string;
  readonly #library: string;

  /**
   * @param directory where the offsets are kept
   * @throws Error if there is no libfaketime
   */
  constructor(directory: string) {
    const library = findFaketime();
    if (library === undefined) throw new Error("libfaketime is not installed.");
    this.#directory = directory;
    this.#library = library;
  }

  /** What a process of this name is started with. */
  environment(name: string): Record<string, string> {
    this.set(name, 0);
    return {
      // jemalloc, which Redis has, asks for the time before libfaketime can tell it, and waits for itself: malloc is to be another.
      LD_PRELOAD: `libc_malloc_debug.so.0 ${this.#library}`,
      FAKETIME_TIMESTAMP_FILE: this.#file(name),
      FAKETIME_CACHE_DURATION: "1",
      // Only the wall clock ever jumps.
      DONT_FAKE_MONOTONIC: "1",
    };
  }

  /** Within a second its clock is so far ahead of the true time. */
  set(name: string, aheadSeconds: number): void {
    writeFileSync(this.#file(name), `${aheadSeconds < 0 ? "" : "+"}${aheadSeconds}\n`);
  }

  #file(name: string): string {
    return join(this.#directory, `${name}.clock`);
  }
}
