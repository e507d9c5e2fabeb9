import type { startWeb } from "../../infra/local/parts.mjs";

type Part = Awaited<ReturnType<typeof startWeb>>;

/** Starts a process: of its usual program, or of another. */
type Launch = (entry?: string) => Promise<Part>;

/** A process that a test may end and start again on the same port. */
export class Restartable {
  readonly url: string;
  readonly port: number;
  readonly #launch: Launch;
  #process: Part;

  private constructor(launch: Launch, process: Part) {
    this.#launch = launch;
    this.#process = process;
    this.url = process.url;
    this.port = process.port;
  }

  static async launch(launch: Launch): Promise<Restartable> {
    return new Restartable(launch, await launch());
  }

  /** The one that runs now. */
  get process(): Pick<Part, "pid" | "kill"> {
    return this.#process;
  }

  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  /** @param entry another program than before */
  async start(entry?: string): Promise<void> {
    this.#process = await this.#launch(entry);
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }

  /** The last that it wrote. */
  output(): string {
    return this.#process.output();
  }
}

/** What was started so far; it is stopped in the opposite order, also if the next part fails to start. */
export class Started {
  readonly #parts: { stop: () => Promise<void> }[] = [];

  keep<T extends { stop: () => Promise<void> }>(part: T): T {
    this.#parts.push(part);
    return part;
  }

  async orStop<T>(start: () => Promise<T>): Promise<T> {
    try {
      return await start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const part of this.#parts.splice(0).reverse()) await part.stop();
  }
}
