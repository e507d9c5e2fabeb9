import { Cluster, Redis, type RedisOptions } from "ioredis";
import type { RedisAccess, RedisPlace } from "./redis-url.ts";

/** A Redis by its role: sessions, which are nowhere else, or copies of what the database holds. */
type Role = "state" | "cache";

/** One server, the primary that Sentinel names, or a Cluster. */
export type RedisConnection = Redis | Cluster;

/** Of each connection, whatever it leads to. */
const bounds = {
  protocol: 2,
  connectTimeout: 1_000,
  commandTimeout: 1_000,
  // A peer that went silent keeps the socket open: without this, only TCP would notice, minutes later.
  socketTimeout: 5_000,
  // A command that a user with few rights, and Redis 7.0, would be refused.
  disableClientInfo: true,
  // A command that was sent when the connection broke may have run, so it is not sent again.
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
} as const satisfies RedisOptions;

const retryMs = (attempt: number) => Math.min(attempt * 50, 1_000);

/**
 * Opens a connection to a Redis. It reconnects for ever, but no command waits for that: without a connection a command
 * fails at once, and with a silent one after a second, so that an outage is an error page and not a hanging one.
 * `report` hears when Redis is lost and when it is back, once each.
 */
export function openRedis(role: Role, place: RedisPlace, report: (message: string) => void): RedisConnection {
  const client = connect(place);
  reportChanges(client, role, report);
  return client;
}

function connect(place: RedisPlace): RedisConnection {
  const options = optionsOf(place);
  switch (place.kind) {
    case "single":
      return new Redis({
        ...options,
        ...place.address,
        db: place.database,
        enableOfflineQueue: false,
        retryStrategy: retryMs,
      });
    case "sentinel":
      return behindSentinel(place);
    case "cluster":
      return new Cluster([...place.nodes], {
        redisOptions: options,
        enableOfflineQueue: false,
        clusterRetryStrategy: retryMs,
        // Where a primary is silent instead of gone, nothing but this tells that another has taken its place.
        slotsRefreshInterval: 2_000,
        // A slot that moves is moved in less; by default a command is tried again for longer than it may take.
        retryDelayOnTryAgain: 5,
        // A certificate is made out for the names that the nodes tell, not for what they resolve to.
        ...(place.tls && { dnsLookup: (host, callback) => callback(null, host) }),
      });
  }
}

/** With nothing in it that is undefined: ioredis takes what is there. */
function optionsOf({ tls, username, password }: RedisAccess) {
  return {
    ...bounds,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: {} }),
  };
}

function behindSentinel(place: RedisPlace & { kind: "sentinel" }): Redis {
  const { sentinels, name, username, password, tls } = place;
  const client = new Redis({
    ...optionsOf(place),
    sentinels: [...sentinels],
    name,
    ...(username !== undefined && { sentinelUsername: username }),
    ...(password !== undefined && { sentinelPassword: password }),
    ...(tls && { sentinelTLS: {}, enableTLSForSentinelMode: true }),
    sentinelCommandTimeout: bounds.commandTimeout,
    sentinelRetryStrategy: retryMs,
    enableOfflineQueue: false,
    retryStrategy: retryMs,
    // An old primary takes writes for seconds after another was promoted, and they are lost with it: leave it when told.
    failoverDetector: true,
    // A demoted one: its connections are ended by Sentinel, if that can reach it.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
  });
  // With the detector, ioredis gives up for good if it is told of a failover while it connects.
  client.on("end", () => {
    const connect = () => {
      // What fails tells it as an "error", and ends again.
      client.connect().catch(() => undefined);
    };
    setTimeout(connect, retryMs(1)).unref();
  });
  return client;
}

/** Ends a connection for good. */
export function closeRedis(client: RedisConnection): void {
  client.removeAllListeners("end");
  client.disconnect();
}

/** Fulfilled when Redis is connected, or after `withinMs`: a server that starts without it can still say what is wrong. */
export function connected(client: RedisConnection, withinMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, withinMs);
    client.once("ready", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Whether Redis answers: of a Cluster, at least one of its primaries, as some of the sessions can be had then. */
export async function ping(client: RedisConnection): Promise<void> {
  const nodes = client instanceof Cluster ? client.nodes("master") : [client];
  await Promise.any(nodes.map((node) => node.ping()));
}

function reportChanges(client: RedisConnection, role: Role, report: (message: string) => void): void {
  let isReachable = true;
  client.on("error", (error: Error) => {
    if (isReachable) report(`The ${role} Redis cannot be reached: ${error.message}`);
    isReachable = false;
  });
  client.on("ready", () => {
    if (!isReachable) report(`The ${role} Redis is reachable again.`);
    isReachable = true;
  });
}
