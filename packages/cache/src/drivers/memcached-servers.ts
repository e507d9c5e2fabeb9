import type { MemcacheClient } from "memcache-client";

/** One Memcached server. */
export interface MemcachedNode {
  /** What its share of the keys depends on. */
  readonly name: string;
  /** Its one connection: it is opened by the first command, and anew by the first after it was lost. */
  readonly client: MemcacheClient;
}

/** Memcached servers that share out the keys among them; what `connectMemcached` returns. */
export class MemcachedServers {
  /** As they were given. */
  readonly nodes: readonly MemcachedNode[];
  #isClosed = false;

  constructor(nodes: readonly MemcachedNode[]) {
    this.nodes = nodes;
  }

  /** Whether it is: a client that is shut down would connect again. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The servers' names. */
  get servers(): readonly string[] {
    return this.nodes.map(({ name }) => name);
  }

  close(): void {
    this.#isClosed = true;
    for (const { client } of this.nodes) client.shutdown();
  }
}
