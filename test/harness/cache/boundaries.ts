import { Redis } from "ioredis";

type SendCommand = typeof Redis.prototype.sendCommand;

/**
 * Every moment at which this process has just done, or is about to do, something that others can see: a command to Redis,
 * a commit at the source. A process killed at one of them has done exactly what came before.
 */
export class Boundaries {
  #passed: string[] | undefined;
  #fatal = Infinity;

  /** Watches every ioredis client of this process. */
  constructor() {
    const { prototype } = Redis;
    const send: SendCommand = Reflect.get(prototype, "sendCommand");
    const pass = (boundary: string) => {
      this.pass(boundary);
    };
    prototype.sendCommand = function (command, ...rest) {
      pass(`before ${command.name}`);
      // Ahead of the caller's own `then`: nothing follows the reply before this does.
      command.promise.then(
        () => pass(`after ${command.name}`),
        () => pass(`after ${command.name}, refused`),
      );
      return send.call(this, command, ...rest);
    };
  }

  /** Counts from here on, and kills this process at the boundary of that number, counted from 1. */
  arm(fatal: number): void {
    this.#passed = [];
    this.#fatal = fatal;
  }

  /** Stops counting. */
  disarm(): readonly string[] {
    const passed = this.#passed ?? [];
    this.#passed = undefined;
    return passed;
  }

  pass(boundary: string): void {
    if (this.#passed?.push(boundary) === this.#fatal) process.kill(process.pid, "SIGKILL");
  }
}
