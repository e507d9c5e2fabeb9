import { once } from "node:events";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startTimeOf } from "../infra/local/instance.mjs";
import { startRedis } from "../infra/local/parts.mjs";
import { freePort, portInUse, type ProcessHandle, startProcess } from "../infra/local/processes.mjs";
import { Client, signedInClient } from "./harness/client.ts";
import { eventually } from "./harness/eventually.ts";
import { repository } from "./harness/stack.ts";

interface Part {
  readonly name: string;
  readonly pid: number;
}

const partNames = ["redis-state", "redis-cache", "database", "web-1", "web-2", "web-3", "nginx"];

let data: string;
let port: number;
let webPort: number;
let started: ProcessHandle[];

beforeEach(async () => {
  const scratch = join(repository, ".lockstep", "test");
  mkdirSync(scratch, { recursive: true });
  data = mkdtempSync(join(scratch, "up-"));
  port = await freePort();
  webPort = await freeRow(3);
  started = [];
});

afterEach(async () => {
  await Promise.all(started.map((up) => up.stop()));
  rmSync(data, { recursive: true });
});

describe("npm run up", () => {
  it("starts three servers that take turns behind nginx, and Ctrl-C ends them and nothing else", async () => {
    const bystander = await startRedis({ role: "cache", port: await freePort(), directory: data, persistent: false });
    started.push(bystander);
    const up = await startUp();

    const names = [];
    for (let turn = 0; turn < 6; turn += 1) names.push(await serverBehind(port));
    expect(names.slice(0, 3).sort()).toEqual(["web-1", "web-2", "web-3"]);
    expect(names.slice(3)).toEqual(names.slice(0, 3));
    for (const number of [1, 2, 3]) expect(await serverBehind(webPort + number - 1)).toBe(`web-${number}`);

    const parts = partsOf();
    expect(parts.map(({ name }) => name).sort()).toEqual([...partNames].sort());
    process.kill(up.pid, "SIGINT");
    expect(await up.exited).toEqual({ code: 0, signal: null });
    expect(parts.filter(isRunning)).toEqual([]);
    expect(await portInUse(port)).toBe(false);
    expect(isRunning(bystander)).toBe(true);
  });

  it("keeps data and sessions between runs, and forgets them with --fresh", async () => {
    let up = await startUp();
    const client = await signedInClient(address());
    await client.request("PATCH", `${address()}/api/profile`, { json: { bio: "kept on disk" } });
    await up.stop();
    expect(statSync(join(data, "session-secret")).mode & 0o777).toBe(0o600);

    up = await startUp();
    expect((await client.request("GET", `${address()}/api/profile`)).body).toMatchObject({ bio: "kept on disk" });
    await up.stop();

    await startUp("--fresh");
    expect(await client.isSignedIn(address())).toBe(false);
    const newcomer = await signedInClient(address());
    const profile = await newcomer.request("GET", `${address()}/api/profile`);
    expect(profile.body).not.toMatchObject({ bio: "kept on disk" });
  });

  it("refuses to start twice in one folder", async () => {
    const up = await startUp();
    await expect(startUp("--fresh")).rejects.toThrow(
      `Lockstep already runs in ${data} (process ${up.pid}): stop that one first.`,
    );
    expect((await new Client().request("GET", `${address()}/livez`)).status).toBe(200);
  });

  it.each([
    ["nginx", () => port, "LOCKSTEP_PORT"],
    ["a web server", () => webPort + 1, "LOCKSTEP_WEB_PORT"],
  ])("names the port and the variable if somebody else listens where %s should", async (_part, taken, variable) => {
    const somebody = createServer().listen(taken(), "127.0.0.1");
    await once(somebody, "listening");
    const sentence = `Port ${taken()} is already in use: free it, or choose another with ${variable}.`;
    await expect(startUp()).rejects.toThrow(sentence);
    somebody.close();
  });

  it("says which part ended by itself, stops the others and ends with 1", async () => {
    const up = await startUp();
    const parts = partsOf();
    process.kill(pidOf(parts, "web-2"), "SIGKILL");
    expect(await up.exited).toEqual({ code: 1, signal: null });
    expect(up.output()).toMatch(/web-2 was ended by SIGKILL\. Its last output:\n {2}web-2 listening on /);
    expect(parts.filter(isRunning)).toEqual([]);
  });

  it("leaves nothing behind when it is killed, and starts again", async () => {
    const up = await startUp();
    const parts = partsOf();
    process.kill(up.pid, "SIGKILL");
    await up.exited;
    await eventually("all parts have ended", () => !parts.some(isRunning));
    await startUp();
    expect((await new Client().request("GET", `${address()}/readyz`)).status).toBe(200);
  });

  it("lets one of many that start at the same moment have the folder, and tells the others so", async () => {
    writeFileSync(
      join(data, "instance.json"),
      JSON.stringify({ owner: { name: "gone", pid: 1, startTime: "0" }, parts: [] }),
    );
    const module = new URL("../infra/local/instance.mjs", import.meta.url).href;
    const program = `import { claim } from ${JSON.stringify(module)};
      try { await claim(process.argv[1]); console.log("claimed"); setInterval(() => {}, 1_000); }
      catch (error) { console.log(error.message); setInterval(() => {}, 1_000); }`;
    const claims = Array.from({ length: 6 }, (_, number) =>
      startProcess({
        name: `claim-${number}`,
        command: process.execPath,
        args: ["--input-type=module", "--eval", program, data],
        ready: /./,
        readyTimeoutMs: 20_000,
      }),
    );
    const running = await Promise.all(claims);
    started.push(...running);
    const said = running.map((claim) => claim.output().trim());
    expect(said.filter((line) => line === "claimed")).toHaveLength(1);
    expect(said.filter((line) => line.startsWith("Lockstep already runs in"))).toHaveLength(5);
  });

  it("stops what a killed instance left running, but no process that got its number since", async () => {
    const leftover = await startSleeper();
    const stranger = await startSleeper();
    const owner = { name: "npm run up", pid: leftover.pid, startTime: "0" };
    const parts = [identity(leftover), { ...identity(stranger), startTime: "0" }];
    writeFileSync(join(data, "instance.json"), JSON.stringify({ owner, parts }));
    await startUp();
    expect(isRunning(leftover)).toBe(false);
    expect(isRunning(stranger)).toBe(true);
  });

  const slowly = { withinMs: 30_000, everyMs: 100 };
  it.each(["sentinel", "cluster"])("starts servers of Redis that take over from each other: %s", async (topology) => {
    const up = await startUp("--topology", topology);
    const client = await signedInClient(address());
    const add = async (item: string) =>
      (await client.request("POST", `${address()}/api/cart`, { json: { item } })).status;
    expect(await add("before")).toBe(201);
    process.kill(pidOf(partsOf(), "redis-state-1"), "SIGKILL");
    await eventually("a change is stored again", async () => (await add("after")) === 201, slowly);
    const { body } = await client.request("GET", `${address()}/api/cart`);
    expect(body).toMatchObject({ items: expect.arrayContaining(["after"]) as string[] });
    await eventually(
      "the server that ended runs again",
      () => up.output().includes("redis-state-1 runs again."),
      slowly,
    );
    const parts = notedParts().filter(isRunning);
    await up.stop();
    expect(parts.filter(isRunning)).toEqual([]);
  });

  it("starts Memcached servers for the cache", async () => {
    const up = await startUp("--topology=memcached");
    const client = await signedInClient(address());
    await eventually("a profile comes from there", async () => {
      const { headers } = await client.request("GET", `${address()}/api/profile`);
      return headers["x-cache"] === "memcached";
    });
    await up.stop();
  });

  it("names the topologies that there are", async () => {
    await expect(startUp("--topology", "ring")).rejects.toThrow(
      "--topology must be one of single, sentinel, cluster, memcached.",
    );
  });

  it("explains an option that it does not know", async () => {
    await expect(startUp("--frehs")).rejects.toThrow(/Unknown option: --frehs\n[^]*--fresh {6}/);
  });
});

function address(): string {
  return `http://localhost:${port}`;
}

async function startUp(...args: string[]): Promise<ProcessHandle> {
  return startProcess({
    name: "npm run up",
    command: process.execPath,
    args: [join(repository, "infra/local/up.mjs"), ...args],
    env: { LOCKSTEP_PORT: `${port}`, LOCKSTEP_WEB_PORT: `${webPort}`, LOCKSTEP_DATA: data },
    ready: new RegExp(`Lockstep is up: ${address()}\n$`),
    onSpawn: (up) => started.push(up),
  });
}

/** What a running instance noted of its parts, all of which run. */
function partsOf(): readonly Part[] {
  const parts = notedParts();
  expect(parts.every(isRunning)).toBe(true);
  return parts;
}

function notedParts(): readonly Part[] {
  return (JSON.parse(readFileSync(join(data, "instance.json"), "utf8")) as { parts: Part[] }).parts;
}

function pidOf(parts: readonly Part[], name: string): number {
  const part = parts.find((candidate) => candidate.name === name);
  if (part === undefined) throw new Error(`${name} was not started.`);
  return part.pid;
}

function isRunning({ pid }: { readonly pid: number }): boolean {
  return startTimeOf(pid) !== undefined;
}

async function startSleeper(): Promise<ProcessHandle> {
  return startProcess({
    name: "sleeper",
    command: "sleep",
    args: ["60"],
    ready: async () => true,
    onSpawn: (sleeper) => started.push(sleeper),
  });
}

function identity({ name, pid }: ProcessHandle) {
  return { name, pid, startTime: startTimeOf(pid) };
}

/** The name of the server that answers there. */
async function serverBehind(port: number): Promise<string | undefined> {
  return (await new Client().request("GET", `http://localhost:${port}/livez`)).servedBy;
}

/** The first of `length` free ports in a row. */
async function freeRow(length: number): Promise<number> {
  return eventually("there are free ports in a row", async () => {
    const first = await freePort();
    for (let next = first + 1; next < first + length; next += 1) if (await portInUse(next)) return undefined;
    return first;
  });
}
