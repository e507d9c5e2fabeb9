import type { Redis } from "ioredis";
import { eventually } from "../eventually.ts";
import type { Stack } from "../stack.ts";
import type { Begun, Fault } from "./fault.ts";

/** Wall clocks that jump. */
export const clockFaults: readonly Fault[] = [
  {
    name: "the clock of a web server jumps an hour ahead, and back",
    on: ["single"],
    lastsMs: 3_000,
    options: { clocks: true },
    begin: (stack) => {
      const now = async () => Date.parse((await fetch(`${stack.server(2)}/livez`)).headers.get("date") ?? "");
      return clockJump(stack, "web-2", 3_600, now);
    },
  },
  {
    name: "the clock of the state Redis jumps ten minutes ahead, and back",
    on: ["single"],
    lastsMs: 3_000,
    options: { clocks: true },
    begin: (stack) => redisClockJump(stack, "redis-state", stack.stores.state[0]?.admin),
  },
  {
    name: "the clock of the cache Redis jumps ten minutes ahead, and back",
    on: ["single"],
    lastsMs: 3_000,
    options: { clocks: true },
    begin: (stack) => redisClockJump(stack, "redis-cache", stack.stores.cache[0]?.admin),
  },
];

function redisClockJump(stack: Stack, name: string, admin: Redis | undefined): Promise<Begun> {
  return clockJump(stack, name, 600, async () => Number((await admin?.time())?.[0]) * 1_000);
}

/** @param name of the process, as it is started */
async function clockJump(stack: Stack, name: string, aheadSeconds: number, now: () => Promise<number>): Promise<Begun> {
  stack.setClock(name, aheadSeconds);
  const ahead = async () => ((await now()) - Date.now()) / 1_000;
  await eventually("the clock has jumped", async () => (await ahead()) > aheadSeconds - 5, { everyMs: 50 });
  return {
    end: async () => {
      stack.setClock(name, 0);
      await eventually("the clock has jumped back", async () => (await ahead()) < 5, { everyMs: 50 });
    },
    seen: () => 1,
  };
}
