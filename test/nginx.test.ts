import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from "node:http";
import { type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startNginx } from "../infra/local/parts.mjs";
import { freePort } from "../infra/local/processes.mjs";
import { eventually } from "./harness/eventually.ts";
import { repository } from "./harness/stack.ts";

let directory: string;
let servers: Server[];
let stopNginx: (() => Promise<void>) | undefined;

beforeEach(() => {
  const scratch = join(repository, ".lockstep", "test");
  mkdirSync(scratch, { recursive: true });
  directory = mkdtempSync(join(scratch, "nginx-"));
  servers = [];
});

afterEach(async () => {
  await stopNginx?.();
  await Promise.all(servers.map(die));
  rmSync(directory, { recursive: true });
});

it("a request that only reads is answered although its server dies over it", async () => {
  const nginx = await nginxBefore(dying(), answering("second"));
  for (let turn = 0; turn < 4; turn += 1) expect(await (await fetch(nginx)).text()).toBe("second");
});

it.each(["POST", "PATCH", "PUT", "DELETE"])(
  "a %s that may have changed something is never sent a second time",
  async (method) => {
    let received = 0;
    const counting: RequestListener = (request) => {
      received += 1;
      request.socket.destroy();
    };
    const nginx = await nginxBefore(counting, counting, counting);
    expect((await fetch(nginx, { method, body: "one more" })).status).toBe(503);
    expect(received).toBe(1);
  },
);

it.each(["PUT", "DELETE"])("a %s is passed to the servers in turn, with what the client sent", async (method) => {
  const echo: RequestListener = (request, response) => {
    request.pipe(response.writeHead(200, { "X-Method": request.method, "X-Target": request.url }));
  };
  const nginx = await nginxBefore(echo, echo);
  const answer = await fetch(`${nginx}/a/b?c=d`, { method, body: "sent" });
  expect([answer.headers.get("x-method"), answer.headers.get("x-target"), await answer.text()]).toEqual([
    method,
    "/a/b?c=d",
    "sent",
  ]);
});

it("a request that may change something goes to the next server if its own cannot be reached", async () => {
  const nginx = await nginxBefore(answering("first"), answering("second"));
  await die(servers[0]);
  const answers = await Promise.all([1, 2, 3, 4].map(async () => (await fetch(nginx, { method: "POST" })).text()));
  expect(answers).toEqual(["second", "second", "second", "second"]);
});

it("with all servers down the answer is a clear page at once, and with one back it is the page asked for", async () => {
  const nginx = await nginxBefore(answering("first"), answering("second"));
  const [first] = servers;
  const { port } = first?.address() as AddressInfo;
  await Promise.all(servers.map(die));
  const start = performance.now();
  const answer = await fetch(nginx);
  expect(performance.now() - start).toBeLessThan(500);
  expect(answer.status).toBe(503);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(await answer.text()).toContain("<h1>No server answered</h1>");

  await listen(answering("back"), port);
  await eventually("the server is asked again", async () => (await (await fetch(nginx)).text()) === "back", {
    withinMs: 2_000,
  });
});

it("what a server answers passes unchanged, an error of its own too", async () => {
  const nginx = await nginxBefore((_request, response) => response.writeHead(503).end("my own words"));
  const answer = await fetch(nginx);
  expect(answer.status).toBe(503);
  expect(await answer.text()).toBe("my own words");
});

it("servers hear the true origin of a request, whatever the client claims", async () => {
  let heard: IncomingHttpHeaders = {};
  const nginx = await nginxBefore((request, response) => {
    heard = request.headers;
    response.end();
  });
  await fetch(nginx, {
    headers: { "x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https", "x-forwarded-host": "evil" },
  });
  const { host } = new URL(nginx);
  expect(heard).toMatchObject({ host, "x-forwarded-proto": "http", "x-forwarded-host": host });
  expect(heard["x-forwarded-for"]).toMatch(/^(127\.0\.0\.1|::1)$/);
});

it("an event stream arrives event by event", async () => {
  let end = () => {};
  const nginx = await nginxBefore((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "x-accel-buffering": "no" });
    response.write("data: first\n\n");
    end = () => response.end("data: last\n\n");
  });
  const events = [];
  for await (const chunk of (await fetch(nginx)).body ?? []) {
    events.push(new TextDecoder().decode(chunk));
    end();
  }
  expect(events).toEqual(["data: first\n\n", "data: last\n\n"]);
});

it("a body of more than a megabyte is refused before a server sees it", async () => {
  const nginx = await nginxBefore(answering("seen"));
  expect((await fetch(nginx, { method: "POST", body: "x".repeat(1_048_577) })).status).toBe(413);
});

it("assets come from their folder, take no server's turn and are asked for again", async () => {
  writeFileSync(join(directory, "page.css"), "body {}");
  const nginx = await nginxBefore(answering("first"), answering("second"));
  const turns = [];
  for (let turn = 0; turn < 4; turn += 1) {
    turns.push(await (await fetch(nginx)).text());
    const asset = await fetch(`${nginx}/assets/page.css`);
    expect(asset.headers.get("content-type")).toBe("text/css");
    expect(asset.headers.get("cache-control")).toBe("no-cache");
    const again = await fetch(`${nginx}/assets/page.css`, {
      headers: { "if-none-match": asset.headers.get("etag") ?? "" },
    });
    expect(again.status).toBe(304);
  }
  expect(turns).toEqual(["first", "second", "first", "second"]);
  expect((await fetch(`${nginx}/assets/none.css`)).status).toBe(404);
});

async function nginxBefore(...listeners: RequestListener[]): Promise<string> {
  for (const listener of listeners) await listen(listener, 0);
  const nginx = await startNginx({
    port: await freePort(),
    servers: servers.map((server) => ({ host: "127.0.0.1", port: (server.address() as AddressInfo).port })),
    directory,
    assets: directory,
  });
  stopNginx = nginx.stop;
  return nginx.url;
}

async function listen(listener: RequestListener, port: number): Promise<void> {
  const server = createServer(listener).listen(port, "127.0.0.1");
  await once(server, "listening");
  servers.push(server);
}

async function die(server: Server | undefined): Promise<void> {
  if (server?.listening !== true) return;
  server.close();
  server.closeAllConnections();
  await once(server, "close");
}

function answering(text: string): RequestListener {
  return (_request, response) => response.end(text);
}

function dying(): RequestListener {
  return (request) => request.socket.destroy();
}
