import { Redis } from "ioredis";
import { expect, onTestFinished } from "vitest";
import { FaultProxy } from "../../../../test/harness/fault-proxy.ts";
import { uniqueName } from "./redis.ts";
import { openServer, openWarmServer, type Server, type ServerOptions } from "./server.ts";
import type { Source } from "./source.ts";
import { until } from "./until.ts";

/** The deadline of a server whose Redis goes. */
export const deadlineMs = 200;

/** What fails without Redis fails like this. */
export const unavailable = { code: "UNAVAILABLE", status: 503 };

export function typesOf({ events }: Server): string[] {
  return events.map(({ type }) => type);
}

/** A server whose connection to Redis can be broken, beside one whose connection can't. */
export async function openBesideAnother(source: Source, options: ServerOptions = {}) {
  const name = uniqueName();
  const other = await openWarmServer(source, { name });
  const proxy = await FaultProxy.start(other.client.options.port ?? 0);
  onTestFinished(() => proxy.stop());
  const server = openServer(source, { name, client: connectWithoutQueue(proxy.port), deadlineMs, ...options });
  await until(() => {
    // Before that it takes INFO, and no script.
    expect(server.client.status).toBe("ready");
    return server.cache.ready();
  });
  return { server, other, proxy };
}

/** What is sent while Redis is gone is lost, and never sent later. */
function connectWithoutQueue(port: number): Redis {
  const queues = { enableOfflineQueue: false, autoResendUnfulfilledCommands: false };
  const client = new Redis(port, { ...queues, retryStrategy: () => 20 });
  client.on("error", () => undefined); // the outage
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}
