import type { Answer } from "../client.ts";

/**
 * What must not be, whatever fails:
 * - `stale`: a read showed less than a write that was acknowledged before it began;
 * - `lost`: a write that was acknowledged is not there afterwards;
 * - `signed out`: somebody who had signed in, and not out, was not known;
 * - `revived`: a session that was ended let somebody in;
 * - `foreign`: somebody was shown another's data.
 */
export const invariants = ["stale", "lost", "signed out", "revived", "foreign"] as const;
export type Invariant = (typeof invariants)[number];

/** What requests came to, and how often each invariant was looked at and broken. */
export class Tally {
  requests = 0;
  /** Answers that say that the request was not done, and requests without an answer. */
  failures = 0;
  /** Of these: requests without any answer. */
  unanswered = 0;
  longestMs = 0;
  /** When the last failure was answered, on the clock of `performance.now()`. */
  lastFailureAt = -Infinity;
  readonly checked: Record<Invariant, number> = { stale: 0, lost: 0, "signed out": 0, revived: 0, foreign: 0 };
  readonly broken: Record<Invariant, number> = { stale: 0, lost: 0, "signed out": 0, revived: 0, foreign: 0 };

  readonly examples: string[] = [];

  /** @returns undefined where nobody has answered */
  async time(request: Promise<Answer>): Promise<Answer | undefined> {
    const begunAt = performance.now();
    let answer: Answer | undefined;
    try {
      answer = await request;
    } catch {
      this.unanswered += 1;
    }
    const now = performance.now();
    this.requests += 1;
    this.longestMs = Math.max(this.longestMs, now - begunAt);
    if (answer === undefined || answer.status >= 500) {
      this.failures += 1;
      this.lastFailureAt = now;
    }
    return answer;
  }

  /** @param what was looked at, to be told of the first that are broken */
  judge(invariant: Invariant, holds: boolean, what: string): void {
    this.checked[invariant] += 1;
    if (holds) return;
    this.broken[invariant] += 1;
    if (this.examples.length < 5) this.examples.push(`${invariant}: ${what}`);
  }
}
