import type { NearError } from "./errors.ts";

/**
 * Why a joining is over: `connection`: its connection closed; `unanswered`: Redis did not answer a renewal within the lease; `removed`: the
 * others took this server for dead, or the group has begun anew (Redis started, failed over or was emptied); `moved`: the group's slot
 * is another node's by now.
 */
export type LossReason = "connection" | "unanswered" | "removed" | "moved";

/** What becomes of a membership. */
export type NearEvent =
  | {
      /** This server is a member (again), with nothing copied yet. */
      readonly type: "joined";
    }
  | {
      /** It is none for now: it reads from Redis, and its strict writes wait, or are refused. It joins again by itself. */
      readonly type: "lost";
      /** Why. */
      readonly reason: LossReason;
    }
  | {
      /** It could not join; it tries again by itself. Told once for each message until it has joined. */
      readonly type: "join-failed";
      /** Why. */
      readonly error: NearError;
    }
  | {
      /** A revocation was missing, so that all copies were dropped. */
      readonly type: "gap";
    }
  | {
      /** A member that was silent for a lease was removed. */
      readonly type: "member-removed";
      /** Its label. */
      readonly label: string;
    };

export function tell(onEvent: ((event: NearEvent) => void) | undefined, event: NearEvent): void {
  try {
    onEvent?.(event);
  } catch (error) {
    process.emitWarning(`A near-copies listener threw at "${event.type}": ${String(error)}`, "LockstepWarning");
  }
}
