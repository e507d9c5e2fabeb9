import { eventually } from "../eventually.ts";
import { type CacheOnServer, recordsOf } from "./cache-server.ts";
import type { History } from "./history.ts";

/** Reads on all servers until nothing is loaded any more. */
export async function untilCached(
  caches: readonly CacheOnServer[],
  history: History,
  ids: readonly string[],
): Promise<void> {
  const records = recordsOf(caches);
  const areCached = async () => {
    const { loads } = records;
    await Promise.all(caches.map((cache) => history.read(cache, ...ids)));
    return records.loads === loads;
  };
  // In a new Redis nothing is cached for `pendingMs`, five seconds by default, and up to two more.
  await eventually("every value is cached", areCached, { withinMs: 20_000 });
}
