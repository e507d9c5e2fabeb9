import { withDeadline } from "@lockstep/redis-kit";
import { fieldsOf } from "./codec.ts";
import { SessionStoreError } from "./errors.ts";
import type { Events } from "./events.ts";
import type { ResolvedOptions } from "./options.ts";
import type { RecordHeads } from "./record-heads.ts";
import type { TrackedSession } from "./tracked-session.ts";
import type { UserIndex } from "./user-index.ts";
import type { UserSessions } from "./user-sessions.ts";

/** S8: keeps users to `maxPerUser`, by whatever way a session becomes theirs. */
export class UserLimiter {
  readonly #options: ResolvedOptions;
  readonly #index: UserIndex;
  readonly #users: UserSessions;
  readonly #heads: RecordHeads;
  readonly #events: Events;
  /** How many rows a user may have in the index. */
  readonly maxRows: number;

  constructor(
    options: ResolvedOptions,
    parts: { index: UserIndex; users: UserSessions; heads: RecordHeads; events: Events },
  ) {
    this.#options = options;
    this.#index = parts.index;
    this.#users = parts.users;
    this.#heads = parts.heads;
    this.#events = parts.events;
    const { maxPerUser } = options;
    this.maxRows = maxPerUser?.beyond === "reject" ? maxPerUser.sessions : Infinity;
  }

  /**
   * Makes a change of a session, within the limit of the user whose it becomes.
   *
   * @param change may be made twice: it stores nothing where it fails with `TOO_MANY_SESSIONS`
   */
  async keep<T>(tracked: TrackedSession, session: object, change: () => Promise<T>): Promise<T> {
    const user = this.#options.maxPerUser && this.#newUser(tracked, session);
    if (user === undefined) return change();
    const result = await change().catch(async (error: unknown) => {
      const isFull = error instanceof SessionStoreError && error.code === "TOO_MANY_SESSIONS";
      // The index may hold some that have ended; counting takes them away.
      if (!isFull || (await this.#users.count(user)) >= this.maxRows) throw error;
      return change();
    });
    if (this.#options.maxPerUser?.beyond === "oldest") await this.#endOldest(user, this.#options.maxPerUser.sessions);
    return result;
  }

  /** The user whose the session becomes by the change; `undefined`: nobody's, or it was already theirs. */
  #newUser({ base }: TrackedSession, session: object): string | undefined {
    const user = this.#index.userOf(fieldsOf(session)) ?? undefined;
    const before = base && this.#heads.userOf(base.raw, base.key);
    return user === before ? undefined : user;
  }

  /** The change is stored, so a failure here is not its: the next sign-in ends what is left. */
  async #endOldest(user: string, allowed: number): Promise<void> {
    const deadlineMs = this.#options.commitDeadlineMs;
    const lateError = () => new Error(`The oldest sessions were not ended within ${deadlineMs} ms.`);
    const work = this.#users.endOldest(user, allowed);
    await withDeadline(work, { deadlineMs, lateError, onLate: () => undefined }).catch((error: unknown) => {
      this.#events.report({ type: "index-failed", error: error as Error });
    });
  }
}
