import { vi } from "vitest";

/** Asks again and again until `check` throws no more: long enough for a machine that is busy with other tests. */
export function until(check: () => unknown): Promise<unknown> {
  return vi.waitFor(check, { timeout: 10_000, interval: 10 });
}
