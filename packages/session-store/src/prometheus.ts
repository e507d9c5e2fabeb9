import { subscribe } from "node:diagnostics_channel";
import { Counter, Histogram, type Registry } from "prom-client";
import type { SessionCounts } from "./events.ts";
import { type CommandTiming, commandChannel } from "./timed-commands.ts";

/** What has counts: an engine, or a `RedisStore`. */
export interface CountedSessions {
  /** @returns how often each event has happened */
  counts(): SessionCounts;
}

/** Upper bounds in seconds, from a command on the same machine to one that takes its whole deadline. */
const buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

/**
 * Registers the metrics of sessions with Prometheus' client, for as long as the process lives. Call it once a registry:
 *
 * - `lockstep_session_events_total{event}`: each number of `counts()`, of all that are given together: sessions created,
 *   destroyed, expired and rotated, merges and conflicts, changes to sessions that were gone, corrupt records, failures,
 *   changes of the breaker's state; and of near copies `near-hit`, `copy-kept`, `copy-revoked` and `copy-evicted`;
 * - `lockstep_session_command_seconds{command,outcome}`: a histogram of the commands on Redis of all engines of this process.
 *
 * No label holds an id or a handle.
 *
 * @param registry prom-client's
 * @param sessions the engine, or several
 */
export function registerSessionMetrics(
  registry: Registry,
  sessions: CountedSessions | readonly CountedSessions[],
): void {
  const counted = [sessions].flat();
  new Counter({
    name: "lockstep_session_events_total",
    help: "What sessions went through.",
    labelNames: ["event"],
    registers: [registry],
    collect() {
      // The counts are kept elsewhere, as totals: a counter can only be raised.
      this.reset();
      for (const one of counted) {
        for (const [event, count] of Object.entries(one.counts())) this.inc({ event }, count);
      }
    },
  });
  const seconds = new Histogram({
    name: "lockstep_session_command_seconds",
    help: "How long commands on the sessions' Redis took.",
    labelNames: ["command", "outcome"],
    buckets,
    registers: [registry],
  });
  subscribe(commandChannel, (message) => {
    const { command, outcome, durationMs } = message as CommandTiming;
    seconds.observe({ command, outcome }, durationMs / 1_000);
  });
}
