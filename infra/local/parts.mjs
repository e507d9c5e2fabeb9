// The parts of a running Lockstep, each a real process: `npm run up` and the tests start the same ones.
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand, startProcess } from "./processes.mjs";

/**
 * @typedef {import("./processes.mjs").ProcessHandle} ProcessHandle
 * @typedef {import("./processes.mjs").Supervision} Supervision
 * @typedef {ProcessHandle & { port: number, url: string }} Part
 */

const repository = fileURLToPath(new URL("../../", import.meta.url));
const web = join(repository, "apps/web");

/**
 * @param {object} options
 * @param {"state" | "cache"} options.role
 * @param {string} [options.name] `redis-` and the role, unless there are several
 * @param {number} options.port
 * @param {string} options.directory created if missing; Redis keeps its files there
 * @param {boolean} options.persistent false: nothing is written to disk, whatever the role
 * @param {readonly string[]} [options.settings] more of them, as redis-server takes them: `--name value`
 * @param {Supervision} [supervision]
 * @returns {Promise<Part>}
 */
export async function startRedis(
  { role, name = `redis-${role}`, port, directory, persistent, settings = [] },
  supervision,
) {
  await mkdir(directory, { recursive: true });
  // A file of its own, as Sentinel has a server rewrite its configuration.
  const config = join(directory, "redis.conf");
  await writeFile(config, `include ${quoted(join(repository, "infra/redis", `${role}.conf`))}\n`);
  const address = ["--port", `${port}`, "--dir", directory, "--bind", "127.0.0.1", "--protected-mode", "yes"];
  const redis = await startProcess({
    name,
    command: "redis-server",
    args: [config, ...address, ...(persistent ? [] : ["--appendonly", "no"]), ...settings],
    ready: /Ready to accept connections/,
    // While it writes its first append-only file, as a replica that has just been synchronized does, it refuses to end.
    remindMs: 200,
    ...supervision,
  });
  return { ...redis, port, url: `redis://127.0.0.1:${port}` };
}

/**
 * @param {object} options
 * @param {string} [options.name]
 * @param {number} options.port
 * @param {readonly string[]} [options.settings] more of them, as memcached takes them
 * @param {Supervision} [supervision]
 * @returns {Promise<ProcessHandle & { port: number }>}
 */
export async function startMemcached({ name = "memcached", port, settings = [] }, supervision) {
  // It refuses to run as root unless told so.
  const user = process.getuid?.() === 0 ? ["-u", "root"] : [];
  const memcached = await startProcess({
    name,
    command: "memcached",
    args: [...user, "-U", "0", "-l", "127.0.0.1", "-p", `${port}`, ...settings],
    // It says nothing when it is ready.
    ready: () => isListening(port),
    ...supervision,
  });
  return { ...memcached, port };
}

/** @param {number} port */
async function isListening(port) {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * @param {object} options
 * @param {number} options.port
 * @param {string | undefined} [options.directory] where the data is kept; without it, in memory
 * @param {Supervision} [supervision]
 * @returns {Promise<Part>}
 */
export async function startDatabase({ port, directory }, supervision) {
  const database = await startProcess({
    name: "database",
    command: process.execPath,
    args: [join(repository, "infra/local/pglite.mjs"), `${port}`, ...(directory === undefined ? [] : [directory])],
    ready: /database listening/,
    readyTimeoutMs: 60_000, // creating a new one takes two seconds of a free processor, and more of a busy one
    ...supervision,
  });
  return { ...database, port, url: `postgres://postgres@127.0.0.1:${port}/postgres` };
}

/**
 * Brings the database to the present schema, with the demo accounts.
 *
 * @param {{ databaseUrl: string }} options
 * @param {Pick<Supervision, "logFile">} [supervision]
 */
export async function migrate({ databaseUrl }, supervision) {
  await runCommand({
    name: "The migration of the database",
    command: process.execPath,
    args: [join(web, "dist/migrate.js")],
    env: { DATABASE_URL: databaseUrl },
    ...supervision,
  });
}

/**
 * @param {object} options
 * @param {string} options.name
 * @param {number} options.port
 * @param {Record<string, string | undefined>} options.env its configuration, beside name and port
 * @param {string} [options.entry] a server other than the reference app's
 * @param {Supervision} [supervision]
 * @returns {Promise<Part>}
 */
export async function startWeb({ name, port, env, entry = join(web, "dist/main.js") }, supervision) {
  const server = await startProcess({
    name,
    command: process.execPath,
    args: [entry],
    env: { NODE_ENV: "production", ...env, SERVER_NAME: name, PORT: `${port}` },
    ready: / listening on /,
    ...supervision,
  });
  return { ...server, port, url: `http://localhost:${port}` };
}

/**
 * @param {object} options
 * @param {number} options.port
 * @param {readonly { host: string, port: number }[]} options.servers in the order of their turns
 * @param {string} options.directory created if missing; everything nginx writes is in there
 * @param {string} [options.assets] the folder served under /assets/
 * @param {Supervision} [supervision]
 * @returns {Promise<Part>}
 */
export async function startNginx({ port, servers, directory, assets = join(web, "src/public") }, supervision) {
  await mkdir(join(directory, "temporary"), { recursive: true });
  const config = join(directory, "nginx.conf");
  await writeFile(config, nginxConfig({ port, servers, assets }));
  const nginx = await startProcess({
    name: "nginx",
    command: "nginx",
    args: ["-e", "stderr", "-p", directory, "-c", config],
    ready: /start worker process /,
    ...supervision,
  });
  return { ...nginx, port, url: `http://localhost:${port}` };
}

/**
 * The local counterpart of infra/nginx/nginx.conf.
 *
 * @param {{ port: number, servers: readonly { host: string, port: number }[], assets: string }} options
 * @returns {string}
 */
function nginxConfig({ port, servers, assets }) {
  // Started by root, the workers would change to a user who cannot read files below a private home folder.
  const user = process.getuid?.() === 0 ? "user root;" : "";
  const loopback = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const ipv6 = loopback.some(({ address }) => address === "::1") ? `listen [::1]:${port};` : "";
  const include = (/** @type {string} */ file) => `include ${quoted(join(repository, "infra/nginx", file))};`;
  return `
daemon off;
${user}
pid nginx.pid;
error_log stderr notice;
worker_processes 2; # more than one, as in production: the round robin must be right across workers
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  ${include("http.conf")}
  upstream lockstep {
    ${include("upstream.conf")}
    ${servers.map((server) => `server ${server.host}:${server.port} max_fails=1 fail_timeout=1s;`).join("\n    ")}
  }
  server {
    listen 127.0.0.1:${port};
    ${ipv6}
    set $assets ${quoted(join(assets, "/"))};
    ${include("server.conf")}
  }
}
`;
}

/** @param {string} path */
function quoted(path) {
  return `"${path.replaceAll(/["\\]/g, "\\$&")}"`;
}
