import { keyPrefixOf, primaries, type RedisClient } from "./client.ts";
import type { Commands } from "./commands.ts";

/**
 * All keys that match, in batches: SCAN on each primary, so one may come more than once. Keys come as they are given to
 * ioredis, without its `keyPrefix`. Where a primary fails the others are walked all the same, and then that is thrown.
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
  const failures: unknown[] = [];
  for (const node of primaries(client)) {
    let cursor = "0";
    do {
      const from = cursor;
      const scan = () => node.scan(from, "MATCH", pattern, "COUNT", options.batchSize);
      const step = await commands.send(options.what, scan).catch((error: unknown) => void failures.push(error));
      if (step === undefined) break;
      cursor = step[0];
      yield step[1].map((key) => key.slice(added.length));
    } while (cursor !== "0");
  }
  if (failures.length > 0) throw failures[0];
}

/** A text as a Redis glob pattern that matches only itself. */
export function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]^]/g, "\\$&");
}
