import type { FaultProxy } from "../fault-proxy.ts";
import type { StackOptions, Stack } from "../stack.ts";
import type { Invariant, Tally } from "./tally.ts";

export type FaultTopology = NonNullable<StackOptions["topology"]>;

/** The topologies that faults are had on. */
export const topologyNames: readonly { readonly topology: FaultTopology; readonly title: string }[] = [
  { topology: "single", title: "Two Redis by role" },
  { topology: "sentinel", title: "Primaries with replicas, under Sentinel" },
  { topology: "cluster", title: "Cluster" },
  { topology: "memcached", title: "Memcached for the shared entries" },
];

/** Whatever fails is what all of them have. */
export const everywhere: readonly FaultTopology[] = topologyNames.map(({ topology }) => topology);

/** The web servers of a stack. */
export const allServers = [1, 2, 3];

/** A fault that has begun: what ends it, and how often it was seen to happen. */
export interface Begun {
  readonly end?: () => Promise<void>;
  /** 0 is not seen. */
  readonly seen: () => number | Promise<number>;
}

/** What a fault may break that leaves servers with an older state of things, as a sentence of the docs says. */
export function all(limit: string): Partial<Record<Invariant, string>> {
  return { lost: limit, stale: limit, "signed out": limit, revived: limit };
}

/** A part of the deployment that fails for a while. */
export interface Fault {
  readonly name: string;
  /** On which topologies it can be had. */
  readonly on: readonly FaultTopology[];
  /** How long it lasts, in ms; 0: it happens, and is over. */
  readonly lastsMs: number;
  /** The longest that a request may take meanwhile, in ms; 6,000 unless said. */
  readonly boundMs?: number;
  /** What may break, with the sentence of the docs that says so. */
  readonly limits?: Partial<Record<Invariant, string>>;
  /** What the servers are started with. */
  readonly options?: Partial<StackOptions>;
  /** Whether connect-redis can take part; it can unless said. */
  readonly peer?: boolean;
  /** Whether nobody may even be told that something has failed. */
  readonly isUnnoticed?: boolean;
  /** Makes it so. `tally`: of requests that are part of the fault */
  begin(stack: Stack, parts: { readonly database: FaultProxy; readonly tally: Tally }): Promise<Begun>;
}
