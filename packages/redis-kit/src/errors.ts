/**
 * What is known about a command that failed:
 *
 * - `not-sent`: it never left this process, so it has not run and will not;
 * - `refused`: Redis answered with an error (OOM, READONLY, LOADING, …), so it has not run;
 * - `no-reply`: it may have run, or may still.
 */
export type CommandFailure = "not-sent" | "refused" | "no-reply";

/** A command that failed, with what is known about its effect. `cause` is the client's own error, where there is one. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly failure: CommandFailure;
  /** The first word of what Redis replied, such as `OOM`, where it refused; without a reply, what a Cluster last said of it. */
  readonly replyCode: string | undefined;
  /** Whether it was given less time than a command usually is, so that its lateness tells nothing of the server. */
  readonly wasHurried: boolean;

  constructor(
    failure: CommandFailure,
    message: string,
    options: ErrorOptions & { replyCode?: string; wasHurried?: boolean } = {},
  ) {
    super(message, options);
    this.failure = failure;
    this.replyCode = options.replyCode;
    this.wasHurried = options.wasHurried ?? false;
  }
}
