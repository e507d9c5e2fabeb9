import { eventually } from "../eventually.ts";
import type { CacheOnServer } from "./cache-server.ts";
import type { Fleet } from "./fleet.ts";
import { History } from "./history.ts";

/** What was seen of an update whose server was killed. */
export interface KilledUpdate {
  /** Its number and name. */
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

interface Kill {
  /** Counted from 1. */
  readonly number: number;
  readonly boundary: string;
  /** How long the entry is read after the kill. */
  readonly watchMs: number;
}

/** Updates entries on servers that are killed with SIGKILL, one at each boundary that an update passes, all side by side. */
export async function killAtEveryBoundary(
  fleet: Fleet,
  readers: readonly CacheOnServer[],
  watchMs: number,
): Promise<KilledUpdate[]> {
  const undisturbed = await startVictim(fleet, readers, "undisturbed");
  await undisturbed.server.armBoundary(Infinity);
  await undisturbed.update("undisturbed", undisturbed.options.records.nextValue());
  const boundaries = await undisturbed.server.passedBoundaries();
  return Promise.all(
    boundaries.map((boundary, index) => killAt(fleet, readers, { number: index + 1, boundary, watchMs })),
  );
}

/** The others read the entry between begin and commit, and from the kill on. */
async function killAt(
  fleet: Fleet,
  readers: readonly CacheOnServer[],
  { number, boundary, watchMs }: Kill,
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
    boundary: `${number} ${boundary}`,
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
