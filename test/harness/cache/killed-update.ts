import { eventually } from "../eventually.ts";
import type { CacheOnServer } from "./cache-server.ts";
import type { Fleet } from "./fleet.ts";
import { History } from "./history.ts";

/** What was seen of an update whose server was killed. */
export interface KilledUpdate {
  readonly boundary: string;
  /** Whether the write had reached the source. */
  readonly committed: boolean;
  /** Reads on the other servers, from before the commit until long after the kill. */
  readonly reads: number;
  /** Those that showed less than what the source had when they began. */
  readonly stale: number;
  /** When the others found it cached again, counted from the kill. */
  readonly cachedAfterMs: number;
}

/** The boundaries that an update passes when nothing disturbs it, in order. */
export async function boundariesOfUpdate(fleet: Fleet, readers: readonly CacheOnServer[]): Promise<readonly string[]> {
  const victim = await startVictim(fleet, readers, "undisturbed");
  await victim.server.armBoundary(Infinity);
  await victim.update("undisturbed", victim.options.records.nextValue());
  return victim.server.passedBoundaries();
}

/**
 * Kills a server with SIGKILL at one boundary, counted from 1, of its update of a cached entry. The others read that entry
 * between the begin and the commit, and from the kill on for `watchMs`.
 */
export async function killAt(
  fleet: Fleet,
  readers: readonly CacheOnServer[],
  { number, boundary, watchMs }: { number: number; boundary: string; watchMs: number },
): Promise<KilledUpdate> {
  const id = `killed-at-${number}.`;
  const victim = await startVictim(fleet, readers, id);
  const { records } = victim.options;
  const history = new History(records);
  const readAll = async () => void (await Promise.all(readers.map((reader) => history.read(reader, id))));

  const before = records.current(id);
  records.beforeNextCommit(id, readAll);
  await victim.server.armBoundary(number);
  const returned = await victim.update(id, records.nextValue()).then(
    () => true,
    () => false,
  );
  if (returned) throw new Error(`The update returned: it has no boundary ${number}.`);
  await victim.server.exited;

  const after = records.current(id);
  // Nobody will ever hear of it, but a committed write counts like one that has returned.
  history.returned(id, after);
  const killedAt = performance.now();
  let cachedAfterMs: number | undefined;
  await eventually("the value is cached again", async () => {
    const loads = records.loadsOf(id);
    await readAll();
    const elapsedMs = performance.now() - killedAt;
    if (records.loadsOf(id) === loads) cachedAfterMs ??= elapsedMs;
    return cachedAfterMs !== undefined && elapsedMs > watchMs;
  });
  return {
    boundary,
    committed: after?.version !== before?.version,
    reads: history.reads,
    stale: history.violations.length,
    cachedAfterMs: Math.round(cachedAfterMs ?? NaN),
  };
}

/** A server of its own, which has done one update before, and an entry that is cached. */
async function startVictim(fleet: Fleet, readers: readonly CacheOnServer[], id: string): Promise<CacheOnServer> {
  const victim = await fleet.join(readers);
  const { records } = victim.options;
  await victim.update("rehearsal", records.nextValue());
  records.commit(id);
  await eventually("the entry is cached", async () => {
    const loads = records.loadsOf(id);
    await Promise.all([victim, ...readers].map((cache) => cache.get(id)));
    return records.loadsOf(id) === loads;
  });
  return victim;
}
