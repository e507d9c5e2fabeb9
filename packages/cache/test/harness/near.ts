import { onTestFinished } from "vitest";
import { type JoinOptions, type NearCache, joinNearCache } from "@lockstep/near-cache";
import { testClient, uniqueName } from "./redis.ts";
import { type Server, type ServerOptions, openWarmServer } from "./server.ts";
import type { Source } from "./source.ts";

/** A server that is in a group of near copies. */
export interface NearServer extends Server {
  readonly near: NearCache;
}

/** Opens servers of one cache and one group, past the time in which a new group or a new Redis holds anything up. */
export async function openGroup(
  source: Source,
  count: number,
  options: ServerOptions & { join?: Partial<JoinOptions> } = {},
): Promise<NearServer[]> {
  const { join, ...others } = options;
  const [name, group] = [uniqueName(), uniqueName()];
  const servers: NearServer[] = [];
  for (let index = 0; index < count; index += 1) {
    const client = others.client ?? testClient();
    const near = await joinNearCache({ client, group, leaseMs: 300, ...join });
    onTestFinished(() => near.close());
    servers.push({ near, ...(await openWarmServer(source, { name, ...others, client, near })) });
  }
  for (const { things } of servers) await things.invalidate("-");
  return servers;
}
