import { isDeepStrictEqual } from "node:util";
import type { Answer } from "../client.ts";

/** One of two requests whose commands are put in order. */
export interface Side {
  /** The server that it is sent to, which has nothing else to do. */
  readonly url: string;
  readonly send: () => Promise<Answer>;
}

/** One order in which the commands of two requests arrived at Redis, and how the requests were answered. */
export interface Interleaving {
  /** Such as `left evalsha, right zrange, …`. */
  readonly order: string;
  readonly left: Answer;
  readonly right: Answer;
}

/**
 * How often the turn may pass to the other request while both have commands left. Nearly all known races need no more than
 * two such switches (Musuvathi and Qadeer, PLDI 2007).
 */
const maxSwitches = 2;

/**
 * Runs two requests in every order, up to {@link maxSwitches}, in which their commands can arrive at Redis: all of the
 * left's first, then with one of the right's in between, and so on.
 *
 * @param run given `meet`, which sends the two for one order; it tells what came of it, and what should have
 * @returns the orders with what went wrong in them; none if all is well
 */
export async function* inEveryOrder(
  run: (meet: (left: Side, right: Side) => Promise<Interleaving>, number: number) => Promise<Finding>,
): AsyncGenerator<{ readonly order: string } & Finding> {
  let number = 0;
  for (let plan: readonly Turn[] | undefined = []; plan !== undefined; number += 1) {
    const [chosen, taken]: [readonly Turn[], Turn[]] = [plan, []];
    let order = "";
    const finding = await run(async (left, right) => {
      const interleaving = await meet(left, right, chosen, taken);
      ({ order } = interleaving);
      return interleaving;
    }, number);
    if (!isDeepStrictEqual(finding.found, finding.expected)) yield { order, ...finding };
    plan = planAfter(taken);
  }
}

/** What came of a race, and what should have. */
export interface Finding {
  readonly found: unknown;
  readonly expected: unknown;
}

/** Whose command went next; `isSwitch`: though the other had one. `isFree`: both had. */
interface Turn {
  readonly side: keyof Sides;
  readonly isFree: boolean;
  readonly isSwitch: boolean;
}

interface Sides {
  readonly left: Runner;
  readonly right: Runner;
}

/** The next order in a depth-first search: the last turn that can still pass to the other side does. */
function planAfter(taken: readonly Turn[]): readonly Turn[] | undefined {
  const switchesBefore = (at: number) => taken.slice(0, at).filter(({ isSwitch }) => isSwitch).length;
  const last = taken.findLastIndex(
    ({ isFree, isSwitch }, at) => isFree && !isSwitch && switchesBefore(at) < maxSwitches,
  );
  const turn = taken[last];
  return turn && [...taken.slice(0, last), { side: otherThan(turn.side), isFree: true, isSwitch: true }];
}

function otherThan(side: keyof Sides): keyof Sides {
  return side === "left" ? "right" : "left";
}

async function meet(left: Side, right: Side, plan: readonly Turn[], taken: Turn[]): Promise<Interleaving> {
  const order: string[] = [];
  const sides: Sides = { left: await Runner.start(left), right: await Runner.start(right) };
  try {
    for (;;) {
      const turn = nextTurn(sides, plan, taken);
      if (turn === undefined) break;
      const command = await sides[turn.side].step();
      if (command === undefined) continue;
      taken.push(turn);
      order.push(`${turn.side} ${command}`);
    }
  } finally {
    await Promise.all([sides.left.stop(), sides.right.stop()]);
  }
  return { order: order.join(", "), left: await sides.left.answered, right: await sides.right.answered };
}

/** As planned, and beyond the plan the side goes on that went before. */
function nextTurn({ left, right }: Sides, plan: readonly Turn[], taken: readonly Turn[]): Turn | undefined {
  const before = taken.at(-1)?.side ?? "left";
  if (left.isDone && right.isDone) return undefined;
  if (left.isDone || right.isDone) return { side: left.isDone ? "right" : "left", isFree: false, isSwitch: false };
  const { side } = plan[taken.length] ?? { side: before };
  return { side, isFree: true, isSwitch: side !== before };
}

/** A request to a server whose commands are let through one by one. */
export class Runner {
  readonly #url: string;
  readonly answered: Promise<Answer>;
  isDone = false;

  private constructor({ url, send }: Side) {
    this.#url = url;
    this.answered = send().finally(() => (this.isDone = true));
  }

  static async start(side: Side): Promise<Runner> {
    await control(side.url, "close");
    return new Runner(side);
  }

  /** Lets the next command through. @returns its name; `undefined`: there is none, as the request is answered */
  async step(): Promise<string | undefined> {
    const next = control(this.#url, "next");
    await Promise.race([next, this.answered]);
    // Answered while it waited for a command that will not come, or a little before it could tell of the last.
    if (this.isDone) await control(this.#url, "open");
    return next;
  }

  async stop(): Promise<void> {
    await control(this.#url, "open");
    await this.answered;
  }
}

async function control(url: string, verb: "close" | "next" | "open"): Promise<string | undefined> {
  const response = await fetch(`${url}/gate/${verb}`, { method: "POST", signal: AbortSignal.timeout(20_000) });
  return ((await response.json()) as { name?: string }).name;
}
