import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Redis } from "ioredis";

/** A command that Redis has executed; `lua`: called by a script, which has a line of its own. */
export interface SeenCommand {
  readonly args: readonly string[];
  readonly source: string;
}

/**
 * What a Redis executes, by MONITOR, on a socket of its own: ioredis' monitor fails where a command comes with the reply to MONITOR, and a
 * Redis that servers use is never silent.
 */
export class Monitor {
  readonly #socket: Socket;

  private constructor(socket: Socket, onCommand: (command: SeenCommand) => void) {
    this.#socket = socket;
    let rest = "";
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      const lines = (rest + text).split("\r\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const command = parseLine(line);
        if (command !== undefined) onCommand(command);
      }
    });
    // Redis is stopped under some of the watched tests.
    socket.on("error", () => undefined);
  }

  /** @param redis a client of the Redis to watch */
  static async start(redis: Redis, onCommand: (command: SeenCommand) => void): Promise<Monitor> {
    const socket = connect({ host: redis.options.host ?? "127.0.0.1", port: redis.options.port ?? 6_379 });
    await once(socket, "connect");
    const monitor = new Monitor(socket, onCommand);
    const isWatching = once(socket, "data");
    socket.write("MONITOR\r\n");
    await isWatching;
    return monitor;
  }

  stop(): void {
    this.#socket.destroy();
  }
}

/** `+<time> [<database> <source>] "<argument>" "<argument>"…`, each argument with the escapes of C. */
function parseLine(line: string): SeenCommand | undefined {
  const match = /^\+[\d.]+ \[\d+ (\S+)\] (.*)$/.exec(line);
  if (!match) return undefined;
  const [, source = "", rest = ""] = match;
  const args = Array.from(rest.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, text = ""]) =>
    text.replaceAll(/\\(["\\])/g, "$1"),
  );
  return { args, source };
}
