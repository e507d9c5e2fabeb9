import { subscribe } from "node:diagnostics_channel";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { type RevocationTrip, revocationChannel } from "./counts.ts";
import type { NearCache } from "./near-cache.ts";

/** Upper bounds in seconds, from an answer on the same machine to the lapse of a long lease. */
const buckets = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/**
 * Registers the metrics of memberships with Prometheus' client, for as long as the process lives. Call it once a registry:
 *
 * - `lockstep_near_events_total{group,event}`: each number of `counts()`;
 * - `lockstep_near_losses_total{group,reason}`: what ended joinings;
 * - `lockstep_near_revocation_seconds{group}`: a histogram of what the revocations of this server's writes took, all answers included;
 * - `lockstep_near_members{group}`, `lockstep_near_copies{group}`, `lockstep_near_copy_bytes{group}` and `lockstep_near_lease_seconds{group}`:
 *   what `status()` says at each scrape; the last is 0 while nothing is served from memory.
 *
 * No label holds a key.
 */
export function registerNearMetrics(registry: Registry, memberships: readonly NearCache[]): void {
  new Counter({
    name: "lockstep_near_events_total",
    help: "What happened to a membership in a group of near copies.",
    labelNames: ["group", "event"],
    registers: [registry],
    collect() {
      // The counts are kept elsewhere, as totals: a counter can only be raised.
      this.reset();
      for (const near of memberships) {
        const { losses: _losses, revocationMs: _times, ...events } = near.counts();
        for (const [event, count] of Object.entries(events)) this.inc({ group: near.group, event }, count);
      }
    },
  });
  new Counter({
    name: "lockstep_near_losses_total",
    help: "What ended joinings of a group of near copies.",
    labelNames: ["group", "reason"],
    registers: [registry],
    collect() {
      this.reset();
      for (const near of memberships) {
        for (const [reason, count] of Object.entries(near.counts().losses))
          this.inc({ group: near.group, reason }, count);
      }
    },
  });
  const seconds = new Histogram({
    name: "lockstep_near_revocation_seconds",
    help: "How long it took until all members had dropped what a write of this server replaced.",
    labelNames: ["group"],
    buckets,
    registers: [registry],
  });
  const groups = new Set(memberships.map(({ group }) => group));
  subscribe(revocationChannel, (message) => {
    const { group, durationMs } = message as RevocationTrip;
    if (groups.has(group)) seconds.observe({ group }, durationMs / 1_000);
  });
  registerStatus(registry, memberships);
}

const gauges: readonly { name: string; help: string; of: (status: ReturnType<NearCache["status"]>) => number }[] = [
  { name: "members", help: "Members of the group, as seen from here.", of: ({ members }) => members.length },
  { name: "copies", help: "Near copies in this process.", of: ({ copies }) => copies.count },
  { name: "copy_bytes", help: "What they take in memory.", of: ({ copies }) => copies.bytes },
  { name: "lease_seconds", help: "What is left of the lease.", of: ({ leaseLeftMs }) => leaseLeftMs / 1_000 },
];

function registerStatus(registry: Registry, memberships: readonly NearCache[]): void {
  for (const { name, help, of } of gauges) {
    new Gauge({
      name: `lockstep_near_${name}`,
      help,
      labelNames: ["group"],
      registers: [registry],
      collect() {
        this.reset();
        for (const near of memberships) this.set({ group: near.group }, of(near.status()));
      },
    });
  }
}
