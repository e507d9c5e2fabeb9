import { MemcacheClient } from "memcache-client";
import { MemcachedServers } from "./drivers/memcached-servers.ts";
import { demand, milliseconds } from "./option-checks.ts";
import type { Memcached } from "./options.ts";

export type { Memcached };

/** A Memcached server: its address, or also a name of its own, which decides its share of the keys in the address' place. */
export type MemcachedServer = string | { readonly name: string; readonly address: string };

/** Options of {@link connectMemcached}. */
export interface MemcachedOptions {
  /**
   * A connection on which a command stays unanswered for so long, in ms, is closed, and opened anew by the next command; default
   * 1,000. So long opening one may take too. What one command may take is `deadlineMs` of `createCache`.
   */
  readonly timeoutMs?: number | undefined;
}

/** Without a port it would be taken for another's; an IPv6 address is not understood by the client. */
const addressPattern = /^[^\s:/]+:(\d{1,5})$/;

/**
 * Names the Memcached servers of a cache, for `createCache({ memcached })`. Nothing is connected before the first command.
 *
 * All servers of the application must give the same list, in whatever order: each key belongs to one of them. A key whose server is
 * gone is read from the source, and never moves to another: its old value would come back with that server.
 *
 * @param servers `"host:port"` each, or `{ name, address }` for one whose address may change
 * @throws TypeError for an empty list, an address without a port, a name given twice, or a `timeoutMs` that can't be meant
 */
export function connectMemcached(servers: readonly MemcachedServer[], options: MemcachedOptions = {}): Memcached {
  const { timeoutMs = 1_000 } = options;
  const named = servers.map((server) => (typeof server === "string" ? { name: server, address: server } : server));
  demand("at least one server is needed", named.length > 0);
  demand("each server needs an address such as 127.0.0.1:11211", named.every(isAddressed));
  demand("each server may be named once", new Set(named.map(({ name }) => name)).size === named.length);
  milliseconds("timeoutMs", timeoutMs);
  return new MemcachedServers(
    named.map(({ name, address }) => ({
      name,
      client: new MemcacheClient({ server: address, noDelay: true, cmdTimeout: timeoutMs, connectTimeout: timeoutMs }),
    })),
  );
}

function isAddressed({ name, address }: { name: unknown; address: unknown }): boolean {
  const port = typeof address === "string" && Number(addressPattern.exec(address)?.[1]);
  return typeof name === "string" && name !== "" && typeof port === "number" && port > 0 && port < 65_536;
}
