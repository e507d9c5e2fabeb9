import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { startRedis } from "../../infra/local/parts.mjs";
import { freePort } from "../../infra/local/processes.mjs";
import { nodeOf, type Node } from "../../infra/local/redis-sets.mjs";
import type { Stores } from "../../infra/local/stores.mjs";

const run = promisify(execFile);
const password = "of-a-throwaway-stack";

/**
 * Two Redis by role, as infra/compose/secure.yml has them: TLS, and users with few rights. Beside them there is a port
 * without TLS on which the tests are everybody.
 *
 * @param repository its folder
 */
export async function startSecureStores(
  directory: string,
  repository: string,
): Promise<Stores & { readonly environment: Readonly<Record<string, string>> }> {
  const scripts = join(repository, "infra/redis");
  const [authority, certificates] = [join(directory, "authority"), join(directory, "certificates")];
  await run("sh", [join(scripts, "certificates.sh"), authority, certificates, "IP:127.0.0.1"]);
  const ca = join(authority, "ca.crt");
  const start = async (role: "state" | "cache") => {
    const { stdout } = await run("sh", [join(scripts, "users.sh"), join(scripts, `${role}.acl`), password]);
    const users = join(directory, `${role}.acl`);
    await writeFile(users, stdout.replace("user default off", "user default on nopass ~* &* +@all"));
    const tlsPort = await freePort();
    const tls = ["--tls-port", `${tlsPort}`, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no"];
    const files = [join(certificates, "redis.crt"), join(certificates, "redis.key")] as const;
    const settings = [...tls, "--tls-cert-file", files[0], "--tls-key-file", files[1], "--aclfile", users];
    const name = `redis-${role}`;
    const own = { role, name, directory: join(directory, name), persistent: role === "state", settings };
    const node = await nodeOf({ name, busPort: await freePort() }, (port) => startRedis({ ...own, port }));
    return { node, url: `rediss://web:${password}@127.0.0.1:${tlsPort}` };
  };
  const [state, cache] = await Promise.all([start("state"), start("cache")]);
  return {
    stateUrl: state.url,
    cacheUrl: cache.url,
    state: [state.node],
    cache: [cache.node],
    sentinels: [],
    memcached: [],
    environment: { NODE_EXTRA_CA_CERTS: ca },
  };
}

/** What users were refused, as Redis remembers it. */
export async function refusals(nodes: readonly Node[]): Promise<readonly string[]> {
  const logs = await Promise.all(nodes.map(({ admin }) => admin.call("ACL", "LOG") as Promise<readonly unknown[][]>));
  return logs.flat().map((entry) => entry.map(String).join(" "));
}
