import { allServers, everywhere, type Fault } from "./fault.ts";
import { stopped } from "./on-processes.ts";

/** Web servers that end, or stand still. */
export const serverFaults: readonly Fault[] = [
  {
    name: "a web server is killed, and started again",
    on: everywhere,
    lastsMs: 2_000,
    begin: async (stack) => {
      await stack.kill(2);
      return { end: () => stack.start(2), seen: () => 1 };
    },
  },
  {
    name: "two of three web servers are killed, and started again",
    on: everywhere,
    lastsMs: 3_000,
    begin: async (stack) => {
      await Promise.all([stack.kill(1), stack.kill(2)]);
      return {
        end: async () => {
          await Promise.all([stack.start(1), stack.start(2)]);
        },
        seen: () => 2,
      };
    },
  },
  {
    name: "all web servers are killed, and started again",
    on: everywhere,
    lastsMs: 3_000,
    begin: async (stack) => {
      await Promise.all(allServers.map((number) => stack.kill(number)));
      return {
        end: async () => {
          await Promise.all(allServers.map((number) => stack.start(number)));
        },
        seen: () => allServers.length,
      };
    },
  },
  {
    name: "the web servers are stopped and started again, one after the other",
    on: everywhere,
    lastsMs: 0,
    isUnnoticed: true,
    begin: async (stack) => {
      for (const number of allServers) {
        await stack.stopServer(number);
        await stack.start(number);
      }
      return { seen: () => allServers.length };
    },
  },
  ...[50, 200, 1_000, 10_000].map((pausedMs): Fault => ({
    name: `a web server stands still for ${pausedMs.toLocaleString("en")} ms`,
    on: everywhere,
    lastsMs: pausedMs,
    // nginx waits for the answer to a change for 8 s.
    boundMs: 9_000,
    begin: (stack) => stopped([stack.process(2)]),
  })),
];
