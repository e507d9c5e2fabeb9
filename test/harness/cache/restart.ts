import { eventually } from "../eventually.ts";
import { type CacheOnServer, recordsOf } from "./cache-server.ts";
import type { Fleet } from "./fleet.ts";
import { History } from "./history.ts";
import { untilCached } from "./until-cached.ts";

/**
 * C9: Redis is killed and starts anew, empty, between the begin of a write and its commit, so that nothing there tells of
 * the write any more. The other servers read through the new one; then the write is committed, and its server killed.
 */
export async function writeAcrossRestart(fleet: Fleet, caches: readonly CacheOnServer[]): Promise<History> {
  const records = recordsOf(caches);
  const history = new History(records);
  const [writer, ...readers] = caches;
  if (writer === undefined) throw new RangeError("There is no server to write.");
  const id = "written-across-a-restart";
  records.commit(id);
  await untilCached(caches, history, [id]);

  records.beforeNextCommit(id, async () => {
    await fleet.restartRedis();
    await eventually("the readers have asked the new Redis", async () => {
      await Promise.all(readers.map((reader) => history.read(reader, id)));
      const clients = (await fleet.redis.client("LIST")) as string;
      return (clients.match(/ cmd=eval(sha)? /g) ?? []).length >= readers.length;
    });
  });
  const committed = records.holdNextSave(id);
  const update = writer.update(id, records.nextValue());
  await Promise.race([committed.arrivals(1), update]);
  await Promise.allSettled([writer.server.kill(), update]);
  history.returned(id, records.current(id));
  await untilCached(readers, history, [id]);
  return history;
}
