import { type Commands, claimOf, claimText, nearProtocol } from "@lockstep/redis-kit";

/** How long a claim counts, and how often it is made anew. */
const claimMs = 60_000;
const renewMs = 20_000;

/** Says in Redis that near copies of some keys exist, as long as they may. */
export class Claims {
  readonly #commands: Commands;
  readonly #group: string;
  readonly #keys = new Map<symbol, string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(commands: Commands, group: string) {
    this.#commands = commands;
    this.#group = group;
  }

  add(key: string): () => void {
    const one = Symbol(key);
    this.#keys.set(one, key);
    void this.#make(key);
    this.#timer ??= setInterval(() => {
      for (const each of new Set(this.#keys.values())) void this.#make(each);
    }, renewMs).unref();
    return () => {
      this.#keys.delete(one);
    };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** One that can't be made now is made next time: it is a help to who sets servers up, and nothing rests on it. */
  async #make(key: string): Promise<void> {
    try {
      const made = await claimOf(this.#commands, key);
      // One of others stays: whoever looks for it, this server's caches among them, is to find it.
      if (made && (made.group !== this.#group || made.version !== nearProtocol)) return;
      const text = await claimText(this.#commands, this.#group, claimMs);
      await this.#commands.send("a claim of near copies", (client) => client.set(key, text));
    } catch {
      return;
    }
  }
}
