// What a strict write can't do without, and nothing else: a mark is set; the group is told, and each member answers; the value is stored.
import { Redis } from "ioredis";
import { answerParent } from "./asked-process.ts";
import { timedWrites } from "./timed-writes.ts";
import { valueOf } from "./values.ts";

export interface FloorOpenRequest {
  readonly redisUrl: string;
  /** Of the group. */
  readonly name: string;
  readonly members: number;
}

const value = JSON.stringify(valueOf(450));
let members: readonly BareMember[] = [];

/** As a member of a group, it has a connection for its commands and one for what the group says. */
class BareMember {
  readonly #name: string;
  readonly #client: Redis;
  readonly #link: Redis;
  /** How many answers the write under way still waits for. */
  #missing = 0;
  #onAnswered = (): void => undefined;

  constructor({ redisUrl, name }: FloorOpenRequest) {
    this.#name = name;
    this.#client = new Redis(redisUrl, { protocol: 2 });
    this.#link = new Redis(redisUrl, { protocol: 3 });
  }

  /** @param asks whether it writes, and so is answered; else it answers */
  async open(asks: boolean): Promise<void> {
    const answers = `${this.#name}:answers`;
    await this.#link.ssubscribe(`${this.#name}:inbox`, ...(asks ? [answers] : []));
    this.#link.on("smessage", (channel: string) => {
      if (!asks) void this.#link.spublish(answers, "done");
      else if (channel === answers && (this.#missing -= 1) === 0) this.#onAnswered();
    });
  }

  async write(others: number): Promise<void> {
    await this.#client.set(`${this.#name}:mark`, "1", "PX", 5_000);
    const answered = new Promise<void>((resolve) => {
      this.#missing = others;
      this.#onAnswered = resolve;
    });
    await this.#link.spublish(`${this.#name}:inbox`, "drop");
    if (others > 0) await answered;
    await this.#client.set(`${this.#name}:value`, value);
  }
}

const answers = {
  open: async ({ asks, ...request }: FloorOpenRequest & { asks: boolean }): Promise<void> => {
    members = Array.from({ length: request.members }, () => new BareMember(request));
    await Promise.all(members.map((member) => member.open(asks)));
  },
  /** The first member writes to so many others. @returns what each write took, in ms */
  write: async ({ others, ...pace }: { others: number; writes: number; rests: boolean }): Promise<Float64Array> => {
    const [first] = members;
    return first === undefined ? new Float64Array() : timedWrites(() => first.write(others), pace);
  },
};

export type FloorAnswers = typeof answers;

answerParent(answers);
