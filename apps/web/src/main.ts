import { NearError } from "@lockstep/near-cache";
import { createServer, type Server, type ServerOptions } from "node:http";
import { Server as NetServer } from "node:net";
import { createApp } from "./app.ts";
import { openMemberships } from "./cache/near-copies.ts";
import { openCache, openSharedTier, openStateCache } from "./cache/open-cache.ts";
import { ConfigError, readConfig, type Config } from "./config.ts";
import { openDatabase } from "./database/connection.ts";
import { openProfileViews } from "./profiles/profile-views.ts";
import { closeRedis, connected, openRedis } from "./redis/connection.ts";

/** What a client may keep waiting, in ms. */
const patience: ServerOptions = {
  // nginx keeps idle connections for 60 s. If this end closed them first, a request could be lost in the race.
  keepAliveTimeout: 75_000,
  headersTimeout: 10_000,
  // With its body, which nginx sends at once.
  requestTimeout: 20_000,
  connectionsCheckingInterval: 1_000,
};
/** nginx needs a few hundred at the most. */
const maxConnections = 2_000;
const lameDuckMs = 1_000;
const drainMs = 7_000;
const saveMs = 1_500;
const stopMs = 9_500;
const connectMs = 2_000;

/** Starts one web server, and stops it when the process is asked to end. */
async function start(config: Config): Promise<void> {
  const { serverName } = config;
  const database = openDatabase({ url: config.databaseUrl, poolSize: config.databasePoolSize });
  const report = (message: string) => {
    console.error(`${serverName}: ${message}`);
  };
  const stateRedis = openRedis("state", config.stateRedis, report);
  const tier = openSharedTier(config, stateRedis, report);
  // Before anything asks them in the background: its failures would open a breaker. And whoever is sent here once this listens must
  // not meet a server that has yet to find its sessions.
  const clients = new Set("client" in tier ? [stateRedis, tier.client] : [stateRedis]);
  await Promise.all([...clients].map((client) => connected(client, connectMs)));
  const near = await openMemberships(tier, stateRedis, config, report);
  const cache = openCache("client" in tier ? { client: tier.client, near: near.profiles } : tier, report);
  const stateCache = openStateCache({ client: stateRedis, durability: config.durability }, report);
  const views = openProfileViews({ database, stateCache, report });
  let isStopping = false;
  const server = createServer(
    patience,
    createApp(config, { database, stateRedis, cache, near, views, isStopping: () => isStopping }),
  );
  server.maxConnections = maxConnections;

  const stop = async () => {
    if (isStopping) return;
    isStopping = true;
    // Whatever still hangs then is cut off with the process.
    setTimeout(() => process.exit(0), stopMs).unref();
    await drain(server);
    await views.drain({ timeoutMs: saveMs });
    for (const each of [cache, stateCache]) each.close();
    await Promise.all([near.profiles?.close(), near.sessions?.close()]);
    tier.close();
    closeRedis(stateRedis);
    await database.destroy();
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop());
  process.on("SIGINT", () => void stop());

  server.on("error", (error) => {
    exitWith(`${serverName} cannot listen on ${config.host}:${config.port}: ${error.message}`);
  });
  server.listen(config.port, config.host, () => {
    console.log(`${serverName} listening on ${addressOf(server)}`);
  });
}

/**
 * Takes no new connections, and waits for the requests under way, but not for ever. Connections that are kept are closed with
 * their next answer (see `createApp`), and those that get no request once nginx has met a refusal and asks elsewhere: one that was
 * closed while a request is on its way to it would take that with it, and nginx may not send a change twice.
 */
function drain(server: Server): Promise<void> {
  return new Promise((resolve) => {
    let closeIdle: NodeJS.Timeout | undefined;
    const startClosing = setTimeout(() => {
      closeIdle = setInterval(() => {
        // After what has arrived was read: a connection is not idle that has something to read.
        setImmediate(() => {
          server.closeIdleConnections();
        });
      }, 50);
    }, lameDuckMs);
    const cutOff = setTimeout(() => {
      server.closeAllConnections();
    }, drainMs);
    // An HTTP server's own `close` would end the idle ones at once.
    NetServer.prototype.close.call(server, () => {
      clearTimeout(startClosing);
      clearInterval(closeIdle);
      clearTimeout(cutOff);
      resolve();
    });
  });
}

function addressOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") return String(address);
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

function exitWith(message: string): never {
  console.error(message);
  process.exit(1);
}

try {
  await start(readConfig(process.env));
} catch (error) {
  if (!(error instanceof ConfigError || error instanceof NearError)) throw error;
  exitWith(error.message);
}
