import { type CircuitBreaker, type RedisClient, readScript, runScript } from "@lockstep/redis-kit";
import type { PartitionKeys } from "./keys.ts";

const file = (name: string) => new URL(`../lua/${name}.lua`, import.meta.url);
const beginning = [file("epoch"), file("queue-row")];

const look = readScript(...beginning, file("queue-look"));
const hurry = readScript(...beginning, file("queue-times"), file("queue-hurry"));
const retry = readScript(...beginning, file("queue-retry"));
const discard = readScript(file("queue-discard"));

/** How much waits in a partition. */
export interface PartitionBacklog {
  /** On Redis' clock, in ms. */
  readonly time: number;
  readonly rows: number;
  /** -1: there is none. */
  readonly oldestMs: number;
  readonly deadLetters: number;
}

/** Tells how much waits in a partition: `queue-look.lua`. `by`: only rows that have been waiting since then are counted. */
export async function lookAtPartition(
  commands: CircuitBreaker,
  { since, dead }: PartitionKeys,
  by: number | "+inf" = "+inf",
): Promise<PartitionBacklog> {
  const run = (client: RedisClient) => runScript(client, look, [since, dead], [by]);
  const reply = (await commands.send("a look at a backlog", run)) as [number, number, number, number];
  const [time, rows, oldestMs, deadLetters] = reply;
  return { time, rows, oldestMs, deadLetters };
}

/**
 * Makes all that waits in a partition due, whoever saves it: `queue-hurry.lua`.
 *
 * @returns when, in ms on Redis' clock: what waits since then, or longer, is due; `undefined`: to be asked again
 */
export async function hurryRows(
  commands: CircuitBreaker,
  { queue, since, hurry: hurryKey }: PartitionKeys,
  options: { flushAfterMs: number; longestWaitMs: number; lifeMs: number },
): Promise<number | undefined> {
  const args = [options.flushAfterMs, options.longestWaitMs, options.lifeMs];
  const run = (client: RedisClient) => runScript(client, hurry, [queue, since, hurryKey], args);
  const time = (await commands.send("the hurrying of rows", run)) as number;
  return time < 0 ? undefined : time;
}

/** Queues dead letters again: `queue-retry.lua`. Answers how many. */
export async function retryRows(
  commands: CircuitBreaker,
  { dead, queue, since }: PartitionKeys,
  rows: readonly string[],
): Promise<number> {
  const run = (client: RedisClient) => runScript(client, retry, [dead, queue, since], rows);
  return (await commands.send("the retry of dead letters", run)) as number;
}

/** Gives dead letters up: `queue-discard.lua`. Answers how many. */
export async function discardRows(
  commands: CircuitBreaker,
  { dead, entry }: PartitionKeys,
  rows: readonly string[],
): Promise<number> {
  const run = (client: RedisClient) => runScript(client, discard, [dead, ...rows.map(entry)], rows);
  return (await commands.send("the discarding of dead letters", run)) as number;
}
