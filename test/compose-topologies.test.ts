import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freeSubnet } from "../infra/compose/engine.mjs";
import { freePort } from "../infra/local/processes.mjs";
import { type Client, signedInClient } from "./harness/client.ts";
import { Project } from "./harness/containers.ts";
import { eventually } from "./harness/eventually.ts";

const webPorts = ["WEB_1_PORT", "WEB_2_PORT", "WEB_3_PORT"] as const;

/** Docker Compose with an override file beside docker-compose.yml, on ports and addresses of its own. */
async function projectWith(override: string): Promise<Project> {
  const ports = await Promise.all(["LOCKSTEP_PORT", ...webPorts].map(async (name) => [name, `${await freePort()}`]));
  return new Project({
    ...(Object.fromEntries(ports) as Record<string, string>),
    LOCKSTEP_SUBNET: freeSubnet(),
    COMPOSE_PROJECT_NAME: `lockstep-test-${override}`,
    COMPOSE_FILE: `docker-compose.yml:infra/compose/${override}.yml`,
  });
}

async function cart(client: Client, server: string): Promise<readonly string[]> {
  const { body } = await client.request("GET", `${server}/api/cart`);
  return (body as { items: readonly string[] }).items;
}

const logsOnFailure = async (project: Project) => {
  console.error(await project.compose(["logs", "--tail=8"]));
};

describe.each([
  { override: "sentinel", primary: "redis-state", tier: "redis" },
  { override: "cluster", primary: "redis-state", tier: "redis" },
  { override: "memcached", primary: undefined, tier: "memcached" },
  { override: "secure", primary: undefined, tier: "redis" },
])("docker compose with the file of $override", ({ override, primary, tier }) => {
  let project: Project;
  let servers: readonly string[];

  beforeAll(async () => {
    project = await projectWith(override);
    servers = webPorts.map((name) => project.origin(name));
    try {
      await project.compose(["up", "--detach"], 4);
      await project.untilHealthy();
    } catch (error) {
      await logsOnFailure(project);
      throw error;
    }
  });
  afterAll(async () => {
    await project.compose(["down", "--volumes"], 2);
  });

  test("what changes on one server is seen on the others in the next request", async () => {
    const nginx = project.origin("LOCKSTEP_PORT");
    const alice = await signedInClient(servers[0] ?? "");
    for (const changed of servers) {
      const bio = `written on ${changed} at ${Date.now()}`;
      expect(await alice.request("PATCH", `${changed}/api/profile`, { json: { bio } })).toMatchObject({ status: 200 });
      expect(await alice.request("POST", `${changed}/api/cart`, { json: { item: bio } })).toMatchObject({
        status: 201,
      });
      for (const base of [...servers.filter((server) => server !== changed), nginx, nginx, nginx]) {
        expect((await alice.request("GET", `${base}/api/profile`)).body).toMatchObject({ bio });
        expect(await cart(alice, base)).toContain(bio);
      }
    }
    await eventually("a profile comes from what they share, or a copy of it", async () => {
      const { headers } = await alice.request("GET", `${nginx}/api/profile`);
      return headers["x-cache"] === tier || headers["x-cache"] === "memory";
    });
  });

  if (primary !== undefined) {
    test("another server takes over from the primary, and a change is stored again", async () => {
      const alice = await signedInClient(servers[1] ?? "");
      await project.compose(["kill", primary]);
      const add = async (item: string) =>
        (await alice.request("POST", `${servers[1] ?? ""}/api/cart`, { json: { item } })).status === 201;
      await eventually("a change is stored again", () => add("after"), { withinMs: 45_000, everyMs: 200 });
      await eventually("every server has it", async () => {
        const carts = await Promise.all(servers.map(async (server) => alice.request("GET", `${server}/api/cart`)));
        return carts.every(({ text }) => text.includes("after"));
      });
      await project.compose(["start", primary]);
      await project.untilHealthy();
      for (const server of servers) expect(await cart(alice, server)).toContain("after");
    });
  }

  if (override === "secure") {
    test("nobody is answered without TLS and a name", async () => {
      const cli = (...args: string[]) => project.compose(["exec", "-T", "redis-state", "redis-cli", ...args]);
      const byTls = ["--tls", "--cacert", "/etc/lockstep/authority/ca.crt", "-h", "localhost"];
      expect(await cli("ping").catch(String)).toMatch(
        /Connection reset|closed the connection|Server closed|I\/O error/,
      );
      expect(await cli(...byTls, "keys", "*")).toMatch(/NOAUTH/);
      const health = ["--user", "health", "--pass", "any", "--no-auth-warning"];
      expect(await cli(...byTls, ...health, "ping")).toBe("PONG\n");
      expect(await cli(...byTls, ...health, "get", "sess:x")).toMatch(/NOPERM/);
    });
  }
});
