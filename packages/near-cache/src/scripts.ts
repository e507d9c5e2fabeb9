import { type Commands, type RedisClient, readScript, runScript } from "@lockstep/redis-kit";
import { NearError } from "./errors.ts";
import type { GroupKeys } from "./keys.ts";
import { type Row, readRow, readRows } from "./peers.ts";

const script = (verb: string) =>
  readScript(new URL("../lua/group.lua", import.meta.url), new URL(`../lua/${verb}.lua`, import.meta.url));

const scripts = {
  join: script("join"),
  renew: script("renew"),
  revoke: script("revoke"),
  watch: script("watch"),
  leave: script("leave"),
};

/** How many members a group may have. */
const maxMembers = 1_024;

/** What the group's scripts answer to who is no member of it (any more). */
export type Over = "over";

/** One typed function a script; all are sent on the member's own connection. */
export class GroupScripts {
  readonly #commands: Commands;
  readonly #keys: GroupKeys;

  constructor(commands: Commands, keys: GroupKeys) {
    this.#commands = commands;
    this.#keys = keys;
  }

  /** `join.lua`. @throws {@link NearError} `LEASE_MISMATCH`, `OVERLOADED` @throws CommandError */
  async join(member: { nonce: string; before: string; leaseMs: number; copies: boolean; label: string }) {
    const { nonce, before, leaseMs, copies, label } = member;
    const args = [
      nonce,
      before,
      leaseMs,
      copies ? "1" : "0",
      encodeURIComponent(label),
      maxMembers,
      this.#keys.answers(nonce),
    ];
    const reply = await this.#run("the joining of a group", "join", args);
    if (reply[0] === "crowded") throw new NearError("OVERLOADED", `The group has ${maxMembers} members already.`);
    if (reply[0] === "lease") {
      const message = `The members of the group have leases of ${String(reply[1])} ms, and leaseMs is ${leaseMs} here: all must have the same.`;
      throw new NearError("LEASE_MISMATCH", message);
    }
    return { generation: String(reply[1]), sent: Number(reply[2]), isSettled: reply[3] === "1" };
  }

  /** `renew.lua`; with `lists`, the group's members too. @throws CommandError */
  async renew(renewal: {
    generation: string;
    nonce: string;
    applied: number;
    isSettled: boolean;
    lists: boolean;
  }): Promise<{ sent: number; isSettled: boolean; rows: Row[] | undefined } | Over> {
    const { generation, nonce, applied, isSettled, lists } = renewal;
    const args = [generation, nonce, applied, isSettled ? "1" : "", lists ? "1" : ""];
    const reply = await this.#run("the renewal of a lease", "renew", args);
    if (reply[0] === "over") return "over";
    const rows = reply[3] === undefined ? undefined : readRows(reply[3] as string[]);
    return { sent: Number(reply[1]), isSettled: reply[2] === "1", rows };
  }

  /** `revoke.lua`. @throws CommandError */
  async revoke(
    { generation, nonce }: { generation: string; nonce: string },
    what: string,
    withinMs: number,
  ): Promise<{ number: number; isSettled: boolean; rows: Row[] } | Over> {
    const args = [generation, nonce, this.#keys.inbox, what];
    const reply = await this.#run("a revocation", "revoke", args, withinMs);
    if (reply[0] === "over") return "over";
    return { number: Number(reply[1]), isSettled: reply[2] === "1", rows: readRows(reply[3] as string[]) };
  }

  /**
   * `watch.lua`: looks at members, and removes each that has renewed as often as `lapsedAt` says.
   *
   * @returns their rows; `undefined`: it is gone
   * @throws CommandError
   */
  async watch(
    generation: string,
    members: readonly { nonce: string; lapsedAt: number | undefined }[],
  ): Promise<(Row | undefined)[] | Over> {
    const args = [generation, ...members.flatMap(({ nonce, lapsedAt }) => [nonce, lapsedAt ?? ""])];
    const [outcome, ...rows] = await this.#run("a look at members", "watch", args);
    if (outcome === "over") return "over";
    return members.map(({ nonce }, index) => readRow(nonce, rows[index] as string));
  }

  /** `leave.lua`. @throws CommandError */
  async leave(nonce: string): Promise<void> {
    await this.#commands.send("the leaving of a group", this.#command("leave", [nonce]));
  }

  async #run(
    what: string,
    verb: keyof typeof scripts,
    args: readonly (string | number)[],
    withinMs?: number,
  ): Promise<[outcome: string, ...unknown[]]> {
    return (await this.#commands.send(what, this.#command(verb, args), withinMs)) as [string, ...unknown[]];
  }

  #command(verb: keyof typeof scripts, args: readonly (string | number)[]) {
    return (client: RedisClient) => runScript(client, scripts[verb], [this.#keys.members], args);
  }
}
