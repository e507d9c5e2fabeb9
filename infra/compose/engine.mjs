// A Docker engine of our own: its data, socket and mounts are apart from any other, and its end leaves the machine as it was.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { BlockList } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCommand, startProcess } from "../local/processes.mjs";

/**
 * @typedef {object} Engine
 * @property {Record<string, string>} env what makes docker and docker-compose talk to it
 * @property {() => Promise<void>} stop ends it with all its containers, and forgets its data
 */

/**
 * @param {{ data: string }} options `data`: the folder of its images, containers and volumes, emptied first
 * @returns {Promise<Engine>}
 * @throws {Error} if another engine runs: two would rewrite each other's firewall rules
 */
export async function startEngine({ data }) {
  if (isRunning("dockerd")) {
    throw new Error(
      "A Docker engine is already running. Stop it first: two would rewrite each other's firewall rules.",
    );
  }
  const network = rememberNetwork();
  // Not below the repository: the path of a socket has at most 107 characters.
  const sockets = mkdtempSync(join(tmpdir(), "lockstep-docker-"));
  const env = {
    DOCKER_HOST: `unix://${sockets}/docker.sock`,
    DOCKER_CONFIG: sockets,
    // Debian's packages have no BuildKit.
    DOCKER_BUILDKIT: "0",
    // Told to stop, docker-compose would wait for the docker command that builds for it.
    COMPOSE_DOCKER_CLI_BUILD: "0",
  };
  const forget = () => {
    for (const folder of [data, sockets]) rmSync(folder, { recursive: true, force: true });
    network.restore();
  };

  try {
    const daemon = await startDaemon({ data, sockets });
    const stop = async () => {
      try {
        removeContainers(env);
      } finally {
        await daemon.stop();
        forget();
      }
    };
    return { env, stop };
  } catch (error) {
    forget();
    throw error;
  }
}

/**
 * The engine looks for a free subnet only where it may choose one itself: it would make a second bridge for a subnet
 * that has one, say of a run that was killed, and its containers could then not be reached.
 *
 * @returns {string} the first three numbers of the addresses of a subnet that this machine has no route to
 * @throws {Error} if each of those looked at is taken
 */
export function freeSubnet() {
  /** @type {{ dst: string }[]} */
  const routes = JSON.parse(run("ip", ["-json", "-4", "route"]));
  const taken = new BlockList();
  const networks = routes.filter(({ dst }) => dst !== "default").map(({ dst }) => dst.split("/"));
  for (const [address = "", bits = 32] of networks) taken.addSubnet(address, Number(bits));
  for (let third = 7; third < 256; third += 1) {
    const subnet = new BlockList();
    subnet.addSubnet(`10.83.${third}.0`, 24);
    const overlaps = taken.check(`10.83.${third}.0`) || networks.some(([address = ""]) => subnet.check(address));
    if (!overlaps) return `10.83.${third}`;
  }
  throw new Error("This machine has a route to every subnet from 10.83.7.0/24 on: the test needs one of its own.");
}

/** @param {{ data: string, sockets: string }} folders */
async function startDaemon({ data, sockets }) {
  const options = {
    "storage-driver": "overlay2",
    "data-root": data,
    "exec-root": join(sockets, "exec"),
    pidfile: join(sockets, "pid"),
    host: `unix://${sockets}/docker.sock`,
  };
  const start = async (/** @type {Record<string, string>} */ options) => {
    rmSync(data, { recursive: true, force: true });
    // In a mount namespace of its own: whatever becomes of it, no mount stays behind.
    const args = [
      "--mount",
      pathOf("dockerd"),
      ...Object.entries(options).map(([name, value]) => `--${name}=${value}`),
    ];
    return startProcess({ name: "dockerd", command: "unshare", args, ready: /API listen on/ });
  };
  try {
    return await start(options);
  } catch {
    console.log("  Layers cannot be overlaid in this folder: every one will be a full copy, slow and large.");
    return start({ ...options, "storage-driver": "vfs" });
  }
}

/**
 * The engine would wait for containers to end on their own, and leave their networks' bridges and rules behind.
 *
 * @param {Record<string, string>} env
 */
function removeContainers(env) {
  const docker = (/** @type {string[]} */ ...args) => run("docker", args, { env: { ...process.env, ...env } });
  const containers = docker("ps", "--all", "--quiet").split("\n").filter(Boolean);
  if (containers.length > 0) docker("rm", "--force", "--volumes", ...containers);
  docker("network", "prune", "--force");
}

/** The engine leaves its bridge, its firewall rules and the forwarding of packets behind when it ends. */
function rememberNetwork() {
  const forwardingFile = "/proc/sys/net/ipv4/ip_forward";
  const forwarding = readFileSync(forwardingFile, "utf8");
  const hadBridge = existsSync("/sys/class/net/docker0");
  const rules = firewallRules();
  return {
    restore: () => {
      if (!hadBridge && existsSync("/sys/class/net/docker0")) run("ip", ["link", "delete", "docker0"]);
      writeFileSync(forwardingFile, forwarding);
      // Only the engine's rules go: somebody else may have added some meanwhile.
      const kept = firewallRules().filter((line) => rules.includes(line) || !/docker/i.test(line));
      const policy = rules.find((line) => line.startsWith(":FORWARD ")) ?? ":FORWARD ACCEPT [0:0]";
      const restored = kept.map((line) => (line.startsWith(":FORWARD ") ? policy : line));
      run("iptables-restore", [], { input: `${restored.join("\n")}\n` });
    },
  };
}

function firewallRules() {
  return run("iptables-save", []).split("\n");
}

/** @param {string} name */
function isRunning(name) {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .some((pid) => {
      try {
        return readFileSync(join("/proc", pid, "comm"), "utf8").trim() === name;
      } catch {
        return false; // it ended between the two calls
      }
    });
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, input?: string }} [options]
 * @returns {string} what it printed
 */
function run(command, args, options) {
  return execFileSync(pathOf(command), args, { ...options, encoding: "utf8", timeout: 60_000 });
}

/** @param {string} command */
function pathOf(command) {
  return findCommand(command) ?? command;
}
