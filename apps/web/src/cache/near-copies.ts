import { hostname } from "node:os";
import { type NearCache, type NearCounts, type NearEvent, type NearStatus, joinNearCache } from "@lockstep/near-cache";
import type { Config } from "../config.ts";
import type { RedisConnection } from "../redis/connection.ts";

/** What near copies of one Redis did on this server since that started. */
export interface NearFigures {
  /** Of what the copies are. */
  readonly of: "profiles" | "sessions" | "profiles and sessions";
  readonly group: string;
  readonly keepsCopies: boolean;
  readonly status: NearStatus;
  readonly counts: NearCounts;
}

/** A server's memberships among those that keep near copies, one for each Redis, so that both may be one; none where NEAR_COPIES is off. */
export interface NearMemberships {
  readonly profiles?: NearCache | undefined;
  readonly sessions?: NearCache | undefined;
}

/**
 * Makes this server a member of the groups that keep near copies, one in each Redis, unless NEAR_COPIES says that there are none.
 *
 * @throws NearError if one of these Redis, or its group, can't have it as a member
 */
export async function openMemberships(
  tier: { readonly client: RedisConnection } | { readonly memcached: unknown },
  stateRedis: RedisConnection,
  config: Config,
  report: (message: string) => void,
): Promise<NearMemberships> {
  if (config.nearCopies === "off") return {};
  const isShared = "client" in tier && tier.client === stateRedis;
  const [sessions, profiles] = await Promise.all([
    join(stateRedis, config, report),
    "client" in tier && !isShared ? join(tier.client, config, report) : undefined,
  ]);
  return { sessions, profiles: isShared ? sessions : profiles };
}

function join(
  client: RedisConnection,
  { nearCopies, serverName }: Config,
  report: (message: string) => void,
): Promise<NearCache> {
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
  if (sessions !== undefined && sessions === profiles) return [figuresOf("profiles and sessions", sessions)];
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
