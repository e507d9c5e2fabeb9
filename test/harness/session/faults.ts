import type { Redis } from "ioredis";
import { freePort } from "../../../infra/local/processes.mjs";
import { eventually } from "../eventually.ts";
import type { Fault, FaultCounts, FaultProxy } from "../fault-proxy.ts";
import type { SessionRedis } from "./session-redis.ts";

/** Something that is wrong with Redis for a while. Both return when it is so, and fail if it does not come about. */
export interface RedisFault {
  begin(): Promise<void>;
  end(): Promise<void>;
}

/** What the network between the servers and Redis does; `seenIn` counts that it has done it. */
export function networkFault(proxy: FaultProxy, fault: Fault, seenIn: keyof FaultCounts): RedisFault {
  let before = 0;
  return {
    begin: async () => {
      before = proxy.counts[seenIn];
      await proxy.set(fault);
    },
    end: async () => {
      await proxy.set("pass");
      if (proxy.counts[seenIn] === before) throw new Error("The fault did not happen.");
    },
  };
}

/** READONLY: the server was made the replica of a primary that nobody can reach. */
export function readOnly({ client }: Pick<SessionRedis, "client">): RedisFault {
  return {
    begin: async () => {
      await client.replicaof("127.0.0.1", await freePort());
      await untilReplying(client, "READONLY", () => client.set("probe", ""));
    },
    end: async () => {
      await client.replicaof("NO", "ONE");
    },
  };
}

/** OOM: the memory is used up, and nothing may be evicted. */
export function outOfMemory({ client }: Pick<SessionRedis, "client">): RedisFault {
  return {
    begin: async () => {
      await client.config("SET", "maxmemory", 1);
      await untilReplying(client, "OOM", () => client.set("probe", ""));
    },
    end: async () => {
      await client.config("SET", "maxmemory", 0);
    },
  };
}

/** BUSY: a script that does not end. Until Redis says so, it does not answer at all. */
export function busy({ client }: Pick<SessionRedis, "client">): RedisFault {
  let script: Promise<unknown>;
  return {
    begin: async () => {
      await client.config("SET", "busy-reply-threshold", 100);
      const runner = client.duplicate();
      script = runner.eval("while true do end", 0).then(
        () => undefined,
        () => runner.disconnect(),
      );
      await untilReplying(client, "BUSY", () => client.get("probe"));
    },
    end: async () => {
      // Sentinel may have been first: it ends scripts that keep a primary from answering.
      await client.script("KILL").catch((error: unknown) => {
        if (!String(error).includes("NOTBUSY")) throw error;
      });
      await script;
    },
  };
}

/** What {@link loading} needs at the start of its Redis. */
export const loadingSettings = ["--enable-debug-command", "local"] as const;

/** LOADING: the server reads its data from disk, of which there is much. Its connections stay. */
export function loading({ client }: Pick<SessionRedis, "client">): RedisFault {
  const entries = 20_000;
  let reload: Promise<unknown>;
  return {
    begin: async () => {
      const filler = client.pipeline();
      for (let index = 0; index < entries; index += 1) filler.set(`filler:${index}`, "x".repeat(100));
      await filler.exec();
      // Undocumented, for Redis' own tests: 2 ms for each key make 40 s, and clients are answered every kibibyte.
      await client.config("SET", "key-load-delay", 2_000, "loading-process-events-interval-bytes", 1_024);
      const runner = client.duplicate();
      reload = runner.call("DEBUG", "RELOAD").finally(() => runner.disconnect());
      reload.catch(() => undefined); // awaited at the end
      await untilReplying(client, "LOADING", () => client.get("probe"));
    },
    end: async () => {
      await client.config("SET", "key-load-delay", 0);
      await reload;
      await client.del(...Array.from({ length: entries }, (_, index) => `filler:${index}`));
    },
  };
}

async function untilReplying(client: Redis, code: string, probe: () => Promise<unknown>): Promise<void> {
  await eventually(`Redis replies ${code}`, () =>
    probe().then(
      () => false,
      (error: unknown) => (error as Error).message.startsWith(code),
    ),
  );
}
