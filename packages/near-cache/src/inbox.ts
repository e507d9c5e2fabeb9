/**
 * The numbers of the revocations that a member has applied (C7). `applied` is the end of an unbroken run, since it answers for all of it:
 * over a gap it only moves once everything is dropped.
 */
export class Inbox {
  #applied: number;

  /** @param applied what its joining answers for: everything was dropped after that */
  constructor(applied: number) {
    this.#applied = applied;
  }

  get applied(): number {
    return this.#applied;
  }

  /** @returns `gap`: one before it is missing, and everything must be dropped before anybody is answered */
  receive(number: number): "next" | "again" | "gap" {
    if (number <= this.#applied) return "again";
    const isNext = number === this.#applied + 1;
    this.#applied = number;
    return isNext ? "next" : "gap";
  }

  /**
   * To be asked with what the reply to a renewal tells, which comes behind all revocations that were sent before.
   *
   * @returns whether one is missing: then everything must be dropped before anybody is answered
   */
  catchUp(sent: number): boolean {
    if (sent <= this.#applied) return false;
    this.#applied = sent;
    return true;
  }
}
