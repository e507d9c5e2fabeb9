import { Redis } from "ioredis";

/** A Redis by its role: sessions, which are nowhere else, or copies of what the database holds. */
type Role = "state" | "cache";

/**
 * Opens a connection to a Redis. It reconnects for ever, but no command waits for that: without a connection a command
 * fails at once, and with a silent one after a second, so that an outage is an error page and not a hanging one.
 * `report` hears when Redis is lost and when it is back, once each.
 */
export function openRedis(role: Role, url: string, report: (message: string) => void): Redis {
  const client = new Redis(url, {
    protocol: 2,
    connectTimeout: 1_000,
    commandTimeout: 1_000,
    // A peer that went silent keeps the socket open: without this, only TCP would notice, minutes later.
    socketTimeout: 5_000,
    enableOfflineQueue: false,
    // A command that was sent when the connection broke may have run, so it is not sent again.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: (attempt) => Math.min(attempt * 50, 1_000),
  });
  reportChanges(client, role, report);
  return client;
}

/** Fulfilled when Redis is connected, or after `withinMs`: a server that starts without it can still say what is wrong. */
export function connected(client: Redis, withinMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, withinMs);
    client.once("ready", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function reportChanges(client: Redis, role: Role, report: (message: string) => void): void {
  let isReachable = true;
  client.on("error", (error) => {
    if (isReachable) report(`The ${role} Redis cannot be reached: ${error.message}`);
    isReachable = false;
  });
  client.on("ready", () => {
    if (!isReachable) report(`The ${role} Redis is reachable again.`);
    isReachable = true;
  });
}
