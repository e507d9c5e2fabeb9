/** What commands are written to. */
export interface MemcachedConnection {
  write(command: string): unknown;
}

/**
 * What is asked of the client of one server, in the terms of memcache-client. By what it does: whoever uses no Memcached has not
 * installed that, and its types would be missing.
 */
export interface MemcachedClient {
  /** Sends one command of Memcached's text protocol: `write` is given the connection; if it throws, nothing was sent. */
  send(write: (connection?: MemcachedConnection) => void): Promise<unknown>;
  shutdown(): void;
}

/** One Memcached server. */
export interface MemcachedNode {
  /** What its share of the keys depends on. */
  readonly name: string;
  /** Its one connection: it is opened by the first command, and anew by the first after it was lost. */
  readonly client: MemcachedClient;
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
