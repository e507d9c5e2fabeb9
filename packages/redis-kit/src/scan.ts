import { keyPrefixOf, primaries, type RedisClient } from "./client.ts";
import type { Commands } from "./commands.ts";

/**
 * All keys that match, in batches: SCAN on each primary, so one may come more than once. Keys come as they are given to
 * ioredis, without its `keyPrefix`.
 *
 * @param pattern a glob pattern, without ioredis' `keyPrefix`
 * @throws CommandError
 */
export async function* scanKeys(
  commands: Pick<Commands, "send">,
  client: RedisClient,
  options: { what: string; pattern: string; batchSize: number },
): AsyncGenerator<string[]> {
  // ioredis puts its own prefix before the keys of commands, but not into the pattern or the reply of a SCAN.
  const added = keyPrefixOf(client);
  const pattern = escapeGlob(added) + options.pattern;
  for (const node of primaries(client)) {
    let cursor = "0";
    do {
      const from = cursor;
      const scan = () => node.scan(from, "MATCH", pattern, "COUNT", options.batchSize);
      const [next, found] = await commands.send(options.what, scan);
      cursor = next;
      yield found.map((key) => key.slice(added.length));
    } while (cursor !== "0");
  }
}

/** A text as a Redis glob pattern that matches only itself. */
export function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]^]/g, "\\$&");
}
