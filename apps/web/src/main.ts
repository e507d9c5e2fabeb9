import { NearError } from "@lockstep/near-cache";
import { createServer, type Server } from "node:http";
import { createApp } from "./app.ts";
import { openNearCopies } from "./cache/near-copies.ts";
import { openCache, openStateCache } from "./cache/open-cache.ts";
import { ConfigError, readConfig, type Config } from "./config.ts";
import { openDatabase } from "./database/connection.ts";
import { openProfileViews } from "./profiles/profile-views.ts";
import { connected, openRedis } from "./redis/connection.ts";

const keepAliveMs = 75_000;
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
  const stateRedis = openRedis("state", config.stateRedisUrl, report);
  const cacheRedis = openRedis("cache", config.cacheRedisUrl, report);
  const [profiles, sessions] = await Promise.all([
    openNearCopies(cacheRedis, config, report),
    openNearCopies(stateRedis, config, report),
  ]);
  const near = { profiles, sessions };
  const cache = openCache({ client: cacheRedis, near: profiles }, report);
  const stateCache = openStateCache(stateRedis, report);
  const views = openProfileViews({ database, stateCache, report });
  let isStopping = false;
  const server = createServer(
    createApp(config, { database, stateRedis, cache, near, views, isStopping: () => isStopping }),
  );
  // nginx keeps idle connections for 60 s. If this end closed them first, a request could be lost in the race.
  server.keepAliveTimeout = keepAliveMs;
  server.headersTimeout = keepAliveMs + 1_000;

  const stop = async () => {
    if (isStopping) return;
    isStopping = true;
    // Whatever still hangs then is cut off with the process.
    setTimeout(() => process.exit(0), stopMs).unref();
    await drain(server);
    await views.drain({ timeoutMs: saveMs });
    for (const each of [cache, stateCache]) each.close();
    await Promise.all([profiles?.close(), sessions?.close()]);
    cacheRedis.disconnect();
    stateRedis.disconnect();
    await database.destroy();
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop());
  process.on("SIGINT", () => void stop());

  server.on("error", (error) => {
    exitWith(`${serverName} cannot listen on ${config.host}:${config.port}: ${error.message}`);
  });
  // Whoever is sent here once this listens must not meet a server that has yet to find its sessions.
  await Promise.all([connected(stateRedis, connectMs), connected(cacheRedis, connectMs)]);
  server.listen(config.port, config.host, () => {
    console.log(`${serverName} listening on ${addressOf(server)}`);
  });
}

/** Takes no new connections, and waits for the requests under way, but not for ever. */
function drain(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // A connection that was busy when the server closed would stay open, idle, after its answer.
    const closeIdle = setInterval(() => {
      server.closeIdleConnections();
    }, 50);
    const cutOff = setTimeout(() => {
      server.closeAllConnections();
    }, drainMs);
    server.close(() => {
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
