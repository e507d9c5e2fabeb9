import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
  isBrokenCircuitError,
  type CircuitBreakerPolicy,
  type IBackoff,
} from "cockatiel";
import type { RedisClient } from "./client.ts";
import { CommandError } from "./errors.ts";

/** `half-open`: one command is out to see whether Redis answers again. */
export type BreakerState = "closed" | "open" | "half-open";

/** When it opens, and for how long. */
export interface BreakerOptions {
  /** It opens after so many failures in a row. */
  readonly failures: number;
  /** After so long, one command is let through to see. */
  readonly breakMs: number;
  /** Called at each change; it must not throw. */
  readonly onChange?: (state: BreakerState) => void;
  /** How messages call the server; default "Redis". */
  readonly server?: string;
}

/** What a breaker stands around: `Commands`, or the like for another server's client. */
export interface Sender<Client> {
  /** As `Commands.send`. @throws {@link CommandError} */
  send<T>(what: string, command: (client: Client) => Promise<T>, withinMs?: number): Promise<T>;
}

/**
 * Replies that tell of the server and not of the command, so that the next command would fare no better. READONLY is one:
 * a replica in a primary's place is not to be read from either. OOM, NOREPLICAS and MISCONF refuse writes only.
 */
const unfitServer: ReadonlySet<string> = new Set(["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "READONLY"]);

const stateNames = {
  [CircuitState.Closed]: "closed",
  [CircuitState.Open]: "open",
  [CircuitState.HalfOpen]: "half-open",
  [CircuitState.Isolated]: "open",
} as const;

type Outcome<T> = { readonly value: T } | { readonly error: CommandError };

/**
 * A circuit breaker around `Commands`: after several failures in a row nothing is sent for a while, and each command
 * fails at once, as `not-sent`, instead of after its deadline.
 *
 * A failure is a command without a reply, one that could not be sent, or a reply by which the server says that it can serve
 * nobody (LOADING, READONLY…). Any other reply, refusals included, shows that Redis is there and starts the count anew.
 */
export class CircuitBreaker<Client = RedisClient> {
  readonly #commands: Sender<Client>;
  readonly #policy: CircuitBreakerPolicy;
  readonly #server: string;

  constructor(commands: Sender<Client>, { failures, breakMs, onChange, server = "Redis" }: BreakerOptions) {
    this.#commands = commands;
    this.#server = server;
    this.#policy = circuitBreaker(
      handleWhenResult((outcome) => isFailure(outcome as Outcome<unknown>)),
      { breaker: new ConsecutiveBreaker(failures), halfOpenAfter: { next: () => new Pause(breakMs) } },
    );
    if (onChange !== undefined) this.#policy.onStateChange((state) => onChange(stateNames[state]));
  }

  /** What it was at the last command: an open one becomes half-open by the first command after its time. */
  get state(): BreakerState {
    return stateNames[this.#policy.state];
  }

  /**
   * As `Commands.send`.
   *
   * @throws {@link CommandError}
   */
  async send<T>(what: string, command: (client: Client) => Promise<T>, withinMs?: number): Promise<T> {
    // cockatiel would let it wait for the one command that is out, beyond its own deadline.
    if (this.#policy.state === CircuitState.HalfOpen) throw this.#brokenError(what);
    const outcome = await this.#throughPolicy(what, () => outcomeOf(this.#commands.send(what, command, withinMs)));
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
  }

  async #throughPolicy<T>(what: string, send: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
    try {
      return await this.#policy.execute(send);
    } catch (error) {
      throw isBrokenCircuitError(error) ? this.#brokenError(what) : error;
    }
  }

  #brokenError(what: string): CommandError {
    return new CommandError("not-sent", `${this.#server} has failed several times in a row: ${what} was not sent.`);
  }
}

/** cockatiel measures a pause on the wall clock, which may be set back by an hour; this one knows itself whether it is over. */
class Pause implements IBackoff<unknown> {
  readonly #endsAt: number;
  readonly #pauseMs: number;

  constructor(pauseMs: number) {
    this.#pauseMs = pauseMs;
    this.#endsAt = performance.now() + pauseMs;
  }

  get duration(): number {
    return performance.now() < this.#endsAt ? Infinity : -Infinity;
  }

  next(): Pause {
    return new Pause(this.#pauseMs);
  }
}

async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work };
  } catch (error) {
    if (error instanceof CommandError) return { error };
    throw error;
  }
}

/** Whether a {@link CircuitBreaker} takes it for a failure: the next command would fare no better. */
export function isOutage({ failure, replyCode, wasHurried }: CommandError): boolean {
  if (wasHurried) return false;
  // One that knows why it was not answered was refused at last: a slot on the move, say.
  if (replyCode !== undefined) return unfitServer.has(replyCode);
  return failure !== "refused";
}

function isFailure(outcome: Outcome<unknown>): boolean {
  return "error" in outcome && isOutage(outcome.error);
}
