/** Where one server listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where a Redis is: one server, a primary that Sentinel names, or a Cluster; and who this app is to it. */
export type RedisPlace = RedisAccess &
  (
    | { readonly kind: "single"; readonly address: Address; readonly database: number }
    | { readonly kind: "sentinel"; readonly sentinels: readonly Address[]; readonly name: string }
    | { readonly kind: "cluster"; readonly nodes: readonly Address[] }
  );

/** Who this app is to a Redis, and how it is reached. */
export interface RedisAccess {
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Where the shared entries are: in a Redis, or on Memcached servers. */
export type CachePlace = RedisPlace | { readonly kind: "memcached"; readonly servers: readonly Address[] };

/** `scheme://user:password@host:port,host:port/path`; the URL standard knows no list of hosts. */
const urlForm =
  /^(?<scheme>[a-z+]+):\/\/(?:(?<username>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^@/?#]+)(?:\/(?<path>[^/?#]*))?$/;

/** A name, an IPv4 address, or an IPv6 address in brackets. */
const hostForm = /^(?<host>[^:[\]\s]+|\[[\da-f:.]+\])(?::(?<port>\d{1,5}))?$/i;

const defaultPort = { redis: 6_379, sentinel: 26_379, memcached: 11_211 };

/**
 * Reads the address of a Redis:
 * - `redis://host:6379/0`, one server; the number of the database may be missing;
 * - `redis+sentinel://host:26379,host:26379/name`, the primary that these sentinels know by the name;
 * - `redis+cluster://host:6379,host:6379`, a Cluster, of which some nodes are named.
 *
 * `rediss` in the place of `redis` is TLS, to sentinels too. `user:password@`, percent-encoded, stands before the hosts; the
 * sentinels must know the same user.
 *
 * @returns undefined for what is none of these
 */
export function readRedisUrl(text: string): RedisPlace | undefined {
  const { scheme = "", username, password, hosts = "", path = "" } = urlForm.exec(text)?.groups ?? {};
  const kind = /^rediss?(?:\+(sentinel|cluster))?$/.exec(scheme);
  const access = accessOf({ scheme, username, password });
  if (kind === null || access === undefined) return undefined;
  const addresses = addressesOf(hosts, kind[1] === "sentinel" ? defaultPort.sentinel : defaultPort.redis);
  const [address] = addresses ?? [];
  if (addresses === undefined || address === undefined) return undefined;
  switch (kind[1]) {
    case "sentinel":
      return path === "" ? undefined : { kind: "sentinel", ...access, sentinels: addresses, name: path };
    case "cluster":
      return path === "" ? { kind: "cluster", ...access, nodes: addresses } : undefined;
    default:
      if (addresses.length > 1 || !/^\d{0,4}$/.test(path)) return undefined;
      return { kind: "single", ...access, address, database: Number(path) };
  }
}

/** Reads the address of a Redis, or `memcached://host:11211,host:11211`. @returns undefined for anything else */
export function readCacheUrl(text: string): CachePlace | undefined {
  const { scheme, username, hosts = "", path = "" } = urlForm.exec(text)?.groups ?? {};
  if (scheme !== "memcached") return readRedisUrl(text);
  const servers = addressesOf(hosts, defaultPort.memcached);
  return servers === undefined || username !== undefined || path !== "" ? undefined : { kind: "memcached", servers };
}

function accessOf(parts: {
  scheme: string;
  username: string | undefined;
  password: string | undefined;
}): RedisAccess | undefined {
  try {
    const [username, password] = [parts.username, parts.password].map((part) => part && decodeURIComponent(part));
    // A name without a password would be ignored by the client, and the app somebody else than was meant.
    if (username && !password) return undefined;
    return { tls: parts.scheme.startsWith("rediss"), username: username || undefined, password: password || undefined };
  } catch {
    return undefined; // a percent sign that encodes nothing
  }
}

function addressesOf(hosts: string, standardPort: number): Address[] | undefined {
  const addresses = hosts.split(",").map((text) => {
    const { host, port = standardPort } = hostForm.exec(text)?.groups ?? {};
    return { host: host?.replaceAll(/[[\]]/g, "") ?? "", port: Number(port) };
  });
  const isWhole = addresses.every(({ host, port }) => host !== "" && port > 0 && port < 65_536);
  return isWhole ? addresses : undefined;
}
