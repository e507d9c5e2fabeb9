// What the person who types `npm run up` may choose.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** @typedef {NonNullable<ReturnType<typeof readSettings>>} Settings */

/** What holds the sessions and the shared entries: `single` is two Redis by role. */
export const topologies = /** @type {const} */ (["single", "sentinel", "cluster", "memcached"]);

/** @typedef {(typeof topologies)[number]} Topology */

const help = `npm run up [-- --fresh] [-- --topology ${topologies.join("|")}]

Starts Lockstep: two Redis, the database, three web servers and nginx. Ctrl-C stops them.

  --fresh             forget the data of earlier runs
  --topology single     two Redis by role: one for state, one for the cache (unless told)
  --topology sentinel   each a primary with replicas, watched by three sentinels
  --topology cluster    one Redis Cluster for both, of three primaries with a replica each
  --topology memcached  a Redis for state, two Memcached servers for the cache
  --help              print this

  LOCKSTEP_PORT       where nginx listens (8080)
  LOCKSTEP_WEB_PORT   the first of the three ports of the web servers themselves (3001)
  LOCKSTEP_DATA       the folder for data and logs (.lockstep)
  SESSION_STACK       connect-redis, store or middleware (middleware)
  PROFILE_WRITES      write-through or cache-aside (write-through)
  NEAR_COPIES         on, join or off: whether servers answer from their own memory too (on)
`;

/** @returns settings, or nothing if the help was asked for and printed */
export function readSettings() {
  const options = /** @type {const} */ ({
    fresh: { type: "boolean" },
    help: { type: "boolean" },
    topology: { type: "string", default: "single" },
  });
  const { values, tokens } = parseArgs({ options, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind === "option" && token.name === "topology") continue;
    if (token.kind === "option" && token.name in options && token.value === undefined) continue;
    const text = token.kind === "option" ? token.rawName : token.kind === "positional" ? token.value : "--";
    const isKnown = token.kind === "option" && token.name in options;
    throw new Error(isKnown ? `${text} takes no value.` : `Unknown option: ${text}\n\n${help}`);
  }
  if (values.help) {
    console.log(help);
    return undefined;
  }
  const topology = topologies.find((name) => name === values.topology);
  if (topology === undefined) throw new Error(`--topology must be one of ${topologies.join(", ")}.`);
  const repository = fileURLToPath(new URL("../../", import.meta.url));
  const port = portFrom("LOCKSTEP_PORT", 8080);
  const firstWebPort = portFrom("LOCKSTEP_WEB_PORT", 3001);
  if (port >= firstWebPort && port < firstWebPort + 3) {
    throw new Error(
      `LOCKSTEP_PORT (${port}) is one of the three ports from LOCKSTEP_WEB_PORT (${firstWebPort}) on: change one.`,
    );
  }
  return {
    fresh: values.fresh === true,
    topology,
    data: resolve(repository, process.env.LOCKSTEP_DATA ?? ".lockstep"),
    port,
    servers: [1, 2, 3].map((number) => ({ name: `web-${number}`, port: firstWebPort + number - 1 })),
  };
}

/**
 * @param {string} variable
 * @param {number} standard
 * @returns {number}
 */
function portFrom(variable, standard) {
  const text = process.env[variable] ?? `${standard}`;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_533) {
    throw new Error(`${variable} must be a port number between 1 and 65533, not "${text}".`);
  }
  return port;
}
