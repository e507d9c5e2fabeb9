import { onTestFinished, vi } from "vitest";

/**
 * Stops the monotonic clock: what is asked for meanwhile leaves in one turn, however slow the machine is. Timers go on.
 *
 * @returns lets it go on; the end of the test does so too
 */
export function stopClock(): () => void {
  const clock = vi.spyOn(performance, "now").mockReturnValue(performance.now());
  const goOn = () => void clock.mockRestore();
  onTestFinished(goOn);
  return goOn;
}
