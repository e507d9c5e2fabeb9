/**
 * How the servers of a history cache.
 * - `near`: strict, and each server answers from memory under a lease.
 * - `shared`: strict, from Redis alone.
 * - `bounded`: copies that may be 50 ms old, which a check for strictness must find.
 */
export type Coherence = "near" | "shared" | "bounded";

/** What one server process of a history is told when it starts. */
export interface ServerSettings {
  /** Of this process: another one after a restart. */
  readonly number: number;
  /** Of the server, whichever process it is; the names of its connections in Redis start so. */
  readonly name: string;
  readonly coherence: Coherence;
  readonly redisUrl: string;
  readonly sourcePort: number;
  readonly historyPath: string;
  readonly clients: number;
  /** Of all clients together. */
  readonly operationsPerSecond: number;
  readonly keys: number;
  /** The part of the operations that write, from 0 to 1. */
  readonly writeShare: number;
}

/** What all servers call their cache, their collection and their group. */
export const cacheName = "history";
export const collectionType = "register";
export const leaseMs = 1_000;

/** How long a write may be pending. Shorter than by default, so that less of a run is spent on waiting for caching to begin again. */
export const pendingMs = 3_000;
