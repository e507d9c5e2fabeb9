import { SessionStoreError } from "./errors.ts";
import type { RecordHeads } from "./record-heads.ts";
import type { Records } from "./records.ts";
import type { Base } from "./tracked-session.ts";
import type { UserIndex } from "./user-index.ts";

/** How often a move is tried while others change the record; then it is used where it is. */
const maxMoves = 5;

/** Moves sessions to the keys of the present id scheme: the record, and its row in the index before it (S8). */
export class Mover {
  readonly #records: Records;
  readonly #heads: RecordHeads;
  readonly #index: UserIndex;
  readonly #deadlineMs: number;

  constructor(parts: { records: Records; heads: RecordHeads; index: UserIndex }, deadlineMs: number) {
    this.#records = parts.records;
    this.#heads = parts.heads;
    this.#index = parts.index;
    this.#deadlineMs = deadlineMs;
  }

  /** @returns where the session is then, moved or not; `undefined`: it is gone @throws CorruptRecord */
  async move(base: Base): Promise<Base | undefined> {
    let now: Base | undefined = base;
    try {
      for (let attempt = 0; attempt < maxMoves && now && this.#records.isToMove(now); attempt += 1) {
        now = await this.#moveOnce(now);
      }
    } catch (error) {
      // A Redis that is full serves reads: it is used where it is.
      if (!(error instanceof SessionStoreError) || error.code !== "UNAVAILABLE") throw error;
    }
    return now;
  }

  async #moveOnce(base: Base): Promise<Base | undefined> {
    const user = this.#heads.userOf(base.raw, base.key);
    const key = this.#records.keyFor(base.id);
    if (user !== undefined) {
      const row = { lifeMs: base.remainingMs ?? Infinity, endsAt: this.#heads.endOf(base.text), max: Infinity };
      const add = (origin?: string) => this.#index.add(user, key, { ...row, origin }, this.#deadlineMs);
      // Somebody else has ended it, or its row was lost.
      if ((await add(base.key)) === "stale") await add();
    }
    const moved = await this.#records.move(base);
    if (user !== undefined && moved?.key === key) await this.#index.promote({ user, key, origin: base.key });
    return moved;
  }
}
