import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { Client, signedInClient } from "./harness/client.ts";
import { Project } from "./harness/containers.ts";
import { eventually } from "./harness/eventually.ts";
import { repository } from "./harness/stack.ts";

const names = ["web-1", "web-2", "web-3"] as const;
const project = new Project();
const nginx = project.origin("LOCKSTEP_PORT");
const servers = [project.origin("WEB_1_PORT"), project.origin("WEB_2_PORT"), project.origin("WEB_3_PORT")] as const;
const [web1, web2, web3] = servers;

beforeEach(() => project.untilHealthy());

describe("the containers", () => {
  test("migrate ran once, with success, before any web server started", async () => {
    const found = await project.containers();
    const migrate = found.get("migrate");
    expect(migrate).toMatchObject({ State: { Status: "exited", ExitCode: 0 }, RestartCount: 0 });
    const migrated = Date.parse(migrate?.State.FinishedAt ?? "");
    const started = names.map((name) => Date.parse(found.get(name)?.State.StartedAt ?? ""));
    expect(Math.min(...started)).toBeGreaterThanOrEqual(migrated);
  });

  test("none of their processes is root or has a capability", async () => {
    for (const [service, { State }] of await running()) {
      const status = readFileSync(`/proc/${State.Pid}/status`, "utf8");
      expect(/^Uid:\t(\d+)/m.exec(status)?.[1], service).not.toBe("0");
      expect(/^CapEff:\t(\w+)/m.exec(status)?.[1], service).toMatch(/^0+$/);
    }
  });

  test("only nginx and the web servers are published, and only on 127.0.0.1", async () => {
    const published = (await running()).flatMap(([service, { NetworkSettings }]) =>
      Object.values(NetworkSettings.Ports).flatMap((bindings) =>
        (bindings ?? []).map(({ HostIp }) => `${service} ${HostIp}`),
      ),
    );
    expect(published.sort()).toEqual(["nginx", ...names].map((service) => `${service} 127.0.0.1`));
  });

  test("the state Redis never evicts and writes every change to disk; the cache Redis evicts what may expire", async () => {
    expect(await redisSettings("redis-state")).toEqual({ "maxmemory-policy": "noeviction", appendonly: "yes" });
    expect(await redisSettings("redis-cache")).toEqual({ "maxmemory-policy": "volatile-lfu", appendonly: "no" });
  });
});

describe("nginx", () => {
  test("lets the three servers answer in turn", async () => {
    const turns: (string | undefined)[] = [];
    for (let request = 0; request < 6; request += 1) turns.push(await servedBy(nginx));
    expect(turns.slice(0, 3).sort()).toEqual(names);
    expect(turns.slice(3)).toEqual(turns.slice(0, 3));
  });

  test("serves the assets itself", async () => {
    const answer = await new Client().request("GET", `${nginx}/assets/lockstep.css`);
    expect(answer).toMatchObject({ status: 200, servedBy: undefined });
    expect(answer.text).toBe(readFileSync(join(repository, "apps/web/src/public/lockstep.css"), "utf8"));
  });

  test("passes a request on from a server that died with it if it reads, never if it may have written", async () => {
    const alice = await signedInClient(web1);
    const node = await nodeOf("web-2");
    // While it stands still, its kernel goes on accepting what nginx sends.
    process.kill(node, "SIGSTOP");
    // Three requests are one turn of the round robin, so that one of each three is for the server that stands still.
    const items = ["one", "two", "three"];
    const writes = items.map((item) => alice.copy().request("POST", `${nginx}/api/cart`, { json: { item } }));
    await untilAnswered(writes, 2);
    const reads = items.map(() => alice.copy().request("GET", `${nginx}/api/cart`));
    await untilAnswered(reads, 2);
    process.kill(node, "SIGKILL");

    expect((await Promise.all(reads)).map(({ status }) => status)).toEqual([200, 200, 200]);
    const statuses = (await Promise.all(writes)).map(({ status }) => status);
    expect([...statuses].sort()).toEqual([201, 201, 503]);
    const stored = items.filter((_, index) => statuses[index] === 201);
    expect((await cart(alice, web3)).sort()).toEqual(stored.sort());
  });
});

describe("a session", () => {
  test("changed on one server, is seen on the others in the next request, and so is the profile", async () => {
    const alice = await signedInClient(web1);
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
  });

  test("survives the restart of a web server", async () => {
    const alice = await signedInClient(web2);
    await project.compose(["restart", "web-2"]);
    await project.untilHealthy();
    for (const base of [...servers, nginx]) expect(await alice.isSignedIn(base)).toBe(true);
  });

  test("survives the crash of a web server, which the engine starts again", async () => {
    const alice = await signedInClient(web2);
    const { RestartCount } = await project.container("web-2");
    process.kill(await nodeOf("web-2"), "SIGKILL");
    await eventually(
      "web-2 is started again",
      async () => (await project.container("web-2")).RestartCount > RestartCount,
    );
    await project.untilHealthy();
    for (const base of [...servers, nginx]) expect(await alice.isSignedIn(base)).toBe(true);
  });

  test("survives the restart of every container, as after that of the machine", async () => {
    const alice = await signedInClient(web1);
    const bio = `written at ${Date.now()}`;
    await alice.request("PATCH", `${web1}/api/profile`, { json: { bio } });
    await project.compose(["restart"]);
    await project.untilHealthy();
    for (const base of [...servers, nginx]) {
      expect((await alice.request("GET", `${base}/api/profile`)).body).toMatchObject({ bio });
    }
  });

  test("survives the restart of the state Redis, by its append-only file", async () => {
    const alice = await signedInClient(web1);
    await project.compose(["restart", "redis-state"]);
    await project.untilHealthy();
    for (const base of servers) {
      await eventually(`${base} has its Redis again`, async () => (await fetch(`${base}/readyz`)).ok);
      expect(await alice.isSignedIn(base)).toBe(true);
    }
  });
});

describe("a web server told to stop", () => {
  test("finishes the request in flight, takes no other and exits with 0 in time", async () => {
    const alice = await signedInClient(web3);
    const held = alice.hold("POST", `${web3}/api/cart`, { json: { item: "the last one" } });
    await servedBy(web3); // by now the held request has arrived, too: it was sent before
    const stopped = project.compose(["stop", "web-3"]);
    await eventually("web-3 takes no more requests", async () => !(await answers(web3)));
    held.release();

    expect(await held.answer).toMatchObject({ status: 201, servedBy: "web-3" });
    await stopped;
    expect((await project.container("web-3")).State).toMatchObject({ Status: "exited", ExitCode: 0 });
    expect(await cart(alice, web1)).toContain("the last one");
    await project.compose(["start", "web-3"]);
  });
});

async function running() {
  return [...(await project.containers())].filter(([, { State }]) => State.Status === "running");
}

/** The id of a web server's own process. The container's first one is its parent, the engine's init. */
async function nodeOf(service: string): Promise<number> {
  const { Pid } = (await project.container(service)).State;
  return Number(readFileSync(`/proc/${Pid}/task/${Pid}/children`, "utf8"));
}

async function untilAnswered(requests: readonly Promise<unknown>[], count: number): Promise<void> {
  let answered = 0;
  for (const request of requests) void request.then(() => (answered += 1));
  await eventually(`${count} requests are answered`, () => answered === count);
}

async function redisSettings(service: string): Promise<Record<string, string>> {
  const listing = await project.compose([
    "exec",
    "-T",
    service,
    "redis-cli",
    "config",
    "get",
    "maxmemory-policy",
    "appendonly",
  ]);
  const [key = "", value = "", otherKey = "", otherValue = ""] = listing.trim().split("\n");
  return { [key]: value, [otherKey]: otherValue };
}

async function servedBy(base: string): Promise<string | undefined> {
  return (await new Client().request("GET", `${base}/livez`)).servedBy;
}

async function answers(base: string): Promise<boolean> {
  try {
    return (await fetch(`${base}/readyz`)).ok;
  } catch {
    return false;
  }
}

async function cart(client: Client, base: string): Promise<string[]> {
  const { body } = await client.request("GET", `${base}/api/cart`);
  return (body as { items: string[] }).items;
}
