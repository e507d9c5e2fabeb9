import { nearProtocol } from "@lockstep/redis-kit";

/** What a group has in Redis, in one Cluster slot. Servers of two versions of the protocol share none of it. */
export interface GroupKeys {
  /** The group: a hash. */
  readonly members: string;
  /** The sharded channel of its revocations. */
  readonly inbox: string;
  /** The sharded channel on which a member hears that the others have applied what it revoked. */
  readonly answers: (nonce: string) => string;
}

/** The one place that spells this package's keys and channels, with the prefix that ioredis puts before other keys by itself. */
export function createGroupKeys(keyPrefix: string, group: string): GroupKeys {
  const members = `${keyPrefix}lockstep:near:${nearProtocol}:{${group}}`;
  return { members, inbox: `${members}:inbox`, answers: (nonce) => `${members}:answers:${nonce}` };
}
