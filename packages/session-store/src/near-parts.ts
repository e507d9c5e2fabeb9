import type { CircuitBreaker, Commands } from "@lockstep/redis-kit";
import type { SessionStoreError } from "./errors.ts";
import type { Events } from "./events.ts";
import { Eviction } from "./eviction.ts";
import { ForeignCopies } from "./foreign-copies.ts";
import type { Keys } from "./keys.ts";
import { NearRecords } from "./near-records.ts";
import type { ResolvedOptions } from "./options.ts";
import { PendingWrites } from "./pending-writes.ts";

/** What an engine has to do with near copies: its own, and those of others. */
export interface NearParts {
  readonly foreign: ForeignCopies;
  /** Where it is in a group. */
  readonly own: { readonly copies: NearRecords; readonly writes: PendingWrites } | undefined;
}

/** @param parts `turns`: for looks, which say nothing of what the engine's own commands would meet */
export function openNearParts(
  options: ResolvedOptions,
  parts: { commands: CircuitBreaker; turns: Pick<Commands, "send">; keys: Keys; events: Events },
): NearParts {
  const { client, near } = options;
  const { commands, turns, keys, events } = parts;
  const onDanger = (error: SessionStoreError) => {
    events.report({ type: "unsafe-redis", error });
  };
  const looks = { commands: turns, near, onDanger };
  if (near === undefined) return { foreign: new ForeignCopies(keys.claim, looks), own: undefined };
  const eviction = new Eviction(near, { client, commands: turns, onDanger });
  const count = events.count.bind(events);
  const copies = new NearRecords(near, options, { eviction, count, claimKey: keys.claim });
  const writes = new PendingWrites(near, options, { copies, commands, markOf: keys.mark });
  // Not before: its own claim would hide that of others.
  const onClear = () => {
    copies.open();
  };
  return { foreign: new ForeignCopies(keys.claim, { ...looks, onClear }), own: { copies, writes } };
}
