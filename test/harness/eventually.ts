import { setTimeout as delay } from "node:timers/promises";

/** Asks `check` again and again until it holds; fails, saying `what` was awaited, after `withinMs`. */
export async function eventually<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  { withinMs = 10_000, everyMs = 10 }: { withinMs?: number; everyMs?: number } = {},
): Promise<T> {
  const start = performance.now();
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (performance.now() - start > withinMs) throw new Error(`Waited ${withinMs} ms in vain until ${what}.`);
    await delay(everyMs);
  }
}
