import { setImmediate } from "node:timers/promises";
import { Redis } from "ioredis";

type SendCommand = typeof Redis.prototype.sendCommand;

/**
 * Holds every command that this process sends to Redis, until it is let through: so a test decides in which order the
 * commands of several servers arrive.
 */
export class CommandGate {
  #isClosed = false;
  readonly #held: (() => Promise<string>)[] = [];
  #onHeld: () => void = () => undefined;

  /** Stands before every ioredis client of this process. */
  constructor() {
    const { prototype } = Redis;
    const send: SendCommand = Reflect.get(prototype, "sendCommand");
    const hold = (pass: () => Promise<string>) => this.#hold(pass);
    prototype.sendCommand = function (command, ...rest) {
      const isHeld = hold(async () => {
        send.call(this, command, ...rest);
        await command.promise.catch(() => undefined);
        return command.name;
      });
      return isHeld ? command.promise : send.call(this, command, ...rest);
    };
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Lets all through, those held and those to come. */
  open(): void {
    this.#isClosed = false;
    for (const pass of this.#held.splice(0)) void pass();
    this.#onHeld();
  }

  /**
   * Lets one command through, when there is one, and waits until what follows from its reply is held in turn.
   *
   * @returns its name; `undefined` if the gate was opened instead
   */
  async next(): Promise<string | undefined> {
    while (this.#isClosed && this.#held.length === 0) await new Promise<void>((resolve) => (this.#onHeld = resolve));
    const name = await this.#held.shift()?.();
    // The caller of the command goes on in microtasks, and the work of a request in a few turns of the event loop.
    for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    return name;
  }

  #hold(pass: () => Promise<string>): boolean {
    if (!this.#isClosed) return false;
    this.#held.push(pass);
    this.#onHeld();
    return true;
  }
}
