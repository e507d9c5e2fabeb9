import { availableParallelism, cpus, loadavg, release } from "node:os";

/** More than an idle system needs for itself. */
const busyLoad = 0.5;

/** What was measured on, in words. */
export function describeMachine(redisVersion: string): string[] {
  const load = loadavg()[0] ?? 0;
  const busy = `Load average ${load.toFixed(1)} at the start: something else ran, these figures are not worth keeping.`;
  return [
    `${availableParallelism()} × ${cpus()[0]?.model.trim() ?? "unknown processor"}, Linux ${release()}.`,
    `Node ${process.versions.node}, Redis ${redisVersion}; clients and Redis on this machine, over loopback.`,
    ...(load > busyLoad ? [busy] : []),
  ];
}
