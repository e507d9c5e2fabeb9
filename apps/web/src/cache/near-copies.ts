import { hostname } from "node:os";
import { type NearCache, type NearCounts, type NearEvent, type NearStatus, joinNearCache } from "@lockstep/near-cache";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";

/** What near copies of one Redis did on this server since that started. */
export interface NearFigures {
  /** Of what the copies are. */
  readonly of: keyof NearMemberships;
  readonly group: string;
  readonly keepsCopies: boolean;
  readonly status: NearStatus;
  readonly counts: NearCounts;
}

/** A server's memberships among those that keep near copies, one for each Redis; none where NEAR_COPIES is off. */
export interface NearMemberships {
  readonly profiles?: NearCache | undefined;
  readonly sessions?: NearCache | undefined;
}

/**
 * Makes this server a member of the group that keeps near copies from a Redis, unless NEAR_COPIES says that there is none.
 *
 * @throws NearError if this Redis, or the group, can't have it as a member
 */
export async function openNearCopies(
  client: Redis,
  { nearCopies, serverName }: Config,
  report: (message: string) => void,
): Promise<NearCache | undefined> {
  if (nearCopies === "off") return undefined;
  return joinNearCache({
    client,
    group: "lockstep",
    copies: nearCopies === "on",
    label: `${serverName} (${hostname()})`.slice(0, 64),
    onEvent: (event) => {
      const sentence = sentenceOf(event);
      if (sentence !== undefined) report(sentence);
    },
  });
}

export function nearFigures({ profiles, sessions }: NearMemberships): NearFigures[] {
  return [profiles && figuresOf("profiles", profiles), sessions && figuresOf("sessions", sessions)].filter(
    (figures) => figures !== undefined,
  );
}

function figuresOf(of: NearFigures["of"], near: NearCache): NearFigures {
  return { of, group: near.group, keepsCopies: near.copies, status: near.status(), counts: near.counts() };
}

function sentenceOf(event: NearEvent): string | undefined {
  switch (event.type) {
    case "joined":
      return undefined;
    case "lost":
      return `It has lost its place among the servers with near copies (${event.reason}), and takes it again.`;
    case "join-failed":
      return `It could not join the servers with near copies: ${event.error.message}`;
    case "gap":
      return "A revocation of near copies was missing: all copies were dropped.";
    case "member-removed":
      return `${event.label} was silent for a lease, and is no member any more.`;
  }
}
