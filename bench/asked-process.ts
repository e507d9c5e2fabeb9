import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** What a process answers, by the name of the question. */
type Answers = Record<string, (input: never) => Promise<unknown>>;
type Input<Asked extends Answers, Name extends keyof Asked> = Parameters<Asked[Name]>[0];
type Answer<Asked extends Answers, Name extends keyof Asked> = Awaited<ReturnType<Asked[Name]>>;

interface Question {
  readonly name: string;
  readonly input: unknown;
}

type Reply = { readonly answer: unknown } | { readonly failure: string };

/** Longer than the longest answer, which is an opening that waits until Redis may be used for caching. */
const answerTimeoutMs = 30_000;
const stopTimeoutMs = 5_000;

/** The parent's end of a process that answers one question at a time. */
export class AskedProcess<Asked extends Answers> {
  readonly #title: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  /** @param program its file without extension, beside this one once both are built */
  constructor(program: string, args: readonly string[] = []) {
    this.#title = [program, ...args].join(" ");
    // "advanced" carries typed arrays.
    this.#child = fork(fileURLToPath(new URL(`./${program}.js`, import.meta.url)), args, { serialization: "advanced" });
    this.#exited = once(this.#child, "exit");
  }

  async ask<Name extends keyof Asked & string>(name: Name, input: Input<Asked, Name>): Promise<Answer<Asked, Name>> {
    if (!this.#child.connected) throw new Error(`The process ${this.#title} has ended.`);
    const settled = new AbortController();
    const { signal } = settled;
    const late = setTimeout(() => this.#child.kill("SIGKILL"), answerTimeoutMs);
    try {
      this.#child.send({ name, input } satisfies Question);
      const ended = once(this.#child, "exit", { signal }).then(() => {
        throw new Error(`The process ${this.#title} ended, or was ended after ${answerTimeoutMs / 1000} s.`);
      });
      const [reply] = (await Promise.race([once(this.#child, "message", { signal }), ended])) as [Reply];
      if ("failure" in reply) throw new Error(reply.failure);
      return reply.answer as Answer<Asked, Name>;
    } finally {
      clearTimeout(late);
      settled.abort();
    }
  }

  /** To pause it, let it go on, or end it at once. */
  kill(signal: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void {
    this.#child.kill(signal);
  }

  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const overdue = setTimeout(() => this.#child.kill("SIGKILL"), stopTimeoutMs);
    await this.#exited;
    clearTimeout(overdue);
  }
}

/** The other end: makes this process answer its parent, and end with it. */
export function answerParent(answers: Answers): void {
  const reply = (message: Reply) => process.send?.(message);
  process.on("message", ({ name, input }: Question) => {
    Promise.resolve(answers[name]?.(input as never)).then(
      (answer) => reply({ answer }),
      (error: unknown) => reply({ failure: error instanceof Error ? error.message : String(error) }),
    );
  });
  // Ctrl-C reaches the whole group; the parent decides the end. Should it die, the channel closes and this process ends as well.
  process.on("SIGINT", () => undefined);
  process.on("disconnect", () => process.exit());
}
