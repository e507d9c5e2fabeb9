/** How often one kind of failure is told of while it lasts, and of how many kinds in that time. */
const againMs = 60_000;
const maxKinds = 16;

/** Tells of failures that go on: of each kind at first, and then once a minute. */
export class FailureNews {
  readonly #tell: (error: unknown) => void;
  /** When each kind was told of, the latest last. */
  readonly #toldAt = new Map<string, number>();

  constructor(tell: (error: unknown) => void) {
    this.#tell = tell;
  }

  /** Tells of it, unless its kind was told of just now. */
  note(error: unknown): void {
    const now = performance.now();
    for (const [kind, at] of this.#toldAt) if (now - at >= againMs) this.#toldAt.delete(kind);
    const kind = kindOf(error);
    if (this.#toldAt.has(kind) || this.#toldAt.size >= maxKinds) return;
    this.#toldAt.set(kind, now);
    this.#tell(error);
  }
}

/** Its code where it has one: messages may name the row, and each be another. */
function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return "code" in error && typeof error.code === "string" ? error.code : `${error.name}: ${error.message}`;
}
