import type { OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { holdDrain } from "./drain-hold.ts";
import {
  type Gate,
  type Method,
  type MethodName,
  type Methods,
  gateMethods,
  methodsOf,
  setMethods,
} from "./gated-methods.ts";
import { applyHead, hasSendableStatus, isStatus } from "./response-head.ts";
import { holdSocket } from "./socket-hold.ts";

/** How much of a body may wait for the headers, in bytes. Whoever heeds `write`'s `false` never comes near it. */
const maxHeldBytes = 16 * 1024 * 1024;

/** What a response waits for. */
export interface GateKeeper {
  /**
   * Asked once, when the headers are about to leave. A promise holds the response until it is fulfilled; its value is then
   * called to add headers, since none can be set while the response is held.
   */
  beforeHeaders(): Promise<() => void> | undefined;
  /** Asked when a response whose headers have left (a stream) is about to end. */
  beforeEnd(): Promise<void> | undefined;
  /** Answers in the handler's place, before it returns, when `beforeHeaders` was rejected. */
  refuse(error: unknown): void;
}

/** The fields of Node's ServerResponse that say what has been sent. express-session and compression read them too. */
interface SentState {
  _header: string | null;
  finished: boolean;
}

type GatedResponse = Omit<ServerResponse, keyof SentState> & SentState;

/**
 * - `open`: nothing was sent;
 * - `held`: the handler has sent, the keeper has not let it go;
 * - `passed`: headers have left, calls go straight through;
 * - `ending`: as `passed`, with the end held;
 * - `refused`: the keeper's answer was sent, the handler's goes nowhere.
 */
type State = "open" | "held" | "passed" | "ending" | "refused";

/**
 * S4: holds a response until its keeper lets it go, without the handler noticing.
 *
 * While it is held, the response is to its handler what Node makes of one that has been sent: `headersSent` is true,
 * `setHeader` throws, a second `writeHead` throws, a write after the end is an error. Node decides all of these by the
 * fields `_header` and `finished`, so these are set, and set back when the calls are played to the real methods.
 */
export class ResponseGate implements Gate {
  readonly #response: GatedResponse;
  readonly #keeper: GateKeeper;
  /** What was there before: Node's methods, or those of whoever wrapped them first (compression, say). */
  readonly #real: Methods;
  /** What earlier middleware has set: it stays when the handler's answer is refused. */
  readonly #headersBefore: OutgoingHttpHeaders;
  #state: State = "open";
  #held: { name: MethodName; args: unknown[] }[] = [];
  #heldBytes = 0;

  /** Takes over the methods through which anything leaves. */
  constructor(response: ServerResponse, keeper: GateKeeper) {
    this.#response = response as unknown as GatedResponse;
    this.#keeper = keeper;
    this.#headersBefore = response.getHeaders();
    this.#real = gateMethods(response, this);
  }

  /** One of the methods, as it is called by whoever answers. */
  called(name: MethodName, args: unknown[]): unknown {
    return name === "writeHead" ? this.#writeHead(args) : this.#pass(name, args);
  }

  #writeHead(args: unknown[]): unknown {
    if (this.#state !== "open" || this.#response._header || !isStatus(args[0])) return this.#call("writeHead", args);
    // Applied first: what the keeper adds (a cookie) must not be replaced by the headers given here.
    const head = applyHead(this.#response, args);
    return this.#pass("writeHead", head);
  }

  #pass(name: MethodName, args: unknown[]): unknown {
    if (this.#state === "open") return this.#open(name, args);
    if (this.#state === "held") return this.#hold(name, args);
    if (this.#state === "refused") return this.#drop(name, args);
    if (this.#state === "passed" && name === "end") return this.#end(args);
    return this.#call(name, args);
  }

  /** The first call that would send the headers. */
  #open(name: MethodName, args: unknown[]): unknown {
    // Sent past us, by somebody who kept the real methods: there is nothing left to hold.
    if (this.#response._header) this.#state = "passed";
    // Node's own complaint about the argument or the status, while nothing has happened yet.
    const isSendable = isAcceptable(name, args) && hasSendableStatus(this.#response);
    if (this.#state === "passed" || !isSendable) return this.#call(name, args);

    const wait = ask(() => this.#keeper.beforeHeaders());
    if (!wait) {
      this.#state = "passed";
      return this.#call(name, args);
    }
    const { statusCode, statusMessage } = this.#response;
    this.#state = "held";
    this.#response._header = "held";
    const endSocketHold = holdSocket(this.#response.req.socket);
    // After an end nobody waits for a drain.
    const drain = name === "end" ? () => undefined : holdDrain(this.#response);
    const reopen = () => {
      this.#response._header = null;
      this.#response.finished = false;
      if (this.#response.statusCode !== statusCode) this.#response.statusCode = statusCode;
      if (this.#response.statusMessage !== statusMessage) this.#response.statusMessage = statusMessage;
    };
    wait
      .then(
        (addHeaders) => {
          reopen();
          addHeaders();
          this.#release(drain);
        },
        (error: unknown) => {
          reopen();
          this.#refuse(error);
          drain(true);
        },
      )
      // Node refused what the handler gave it (trailers without chunks, say), too late for the handler to hear; or the keeper threw.
      .catch((error: unknown) => this.#response.destroy(asError(error)))
      .finally(endSocketHold);
    return this.#hold(name, args);
  }

  #hold(name: MethodName, args: unknown[]): unknown {
    const response = this.#response;
    // What Node answers to a call after the end, or with an argument it refuses, it answers without sending anything.
    if (response.finished || response.destroyed || !isAcceptable(name, args)) return this.#call(name, args);
    this.#held.push({ name, args });
    if (name === "end") {
      response.finished = true;
      return response;
    }
    if (name !== "write") return name === "writeHead" ? response : undefined;
    this.#heldBytes += sizeOf(args[0]);
    if (this.#held.length > 1 && this.#heldBytes > maxHeldBytes) {
      response.destroy(new Error(`More than ${maxHeldBytes} bytes were written without waiting for "drain".`));
    }
    return false;
  }

  /** Plays the held calls to the real methods. */
  #release(drain: (isDrained: boolean) => void): void {
    this.#state = "passed";
    let isDrained = true;
    const held = this.#take();
    for (const [index, { name, args }] of held.entries()) {
      // An end that came after other calls may have changed the session again in between.
      const result = name === "end" && index > 0 ? this.#end(args) : this.#call(name, args);
      if (name === "write") isDrained = result !== false;
    }
    drain(isDrained && held.some(({ name }) => name === "write") && !this.#response.finished);
  }

  /** Lets the keeper answer in the handler's place, past whatever the handler has wrapped around the methods. */
  #refuse(error: unknown): void {
    const response = this.#response;
    const held = this.#take();
    for (const name of response.getHeaderNames()) response.removeHeader(name);
    for (const [name, value] of Object.entries(this.#headersBefore)) {
      if (name !== "set-cookie" && value !== undefined) response.setHeader(name, value);
    }
    response.addTrailers({});
    // A hook that gives none means a failure, not what the handler had to say.
    Object.assign(response, { statusCode: 500, statusMessage: "" });
    // Not `finished`: compression ends later, when it has compressed.
    const answer = { hasEnded: false };
    const gated = methodsOf(response);
    const { writeHead, flushHeaders, write } = this.#real;
    const end: Method = (...args) => {
      answer.hasEnded = true;
      return this.#call("end", args);
    };
    setMethods(response, { writeHead, flushHeaders, write, end });
    try {
      this.#keeper.refuse(error);
    } finally {
      setMethods(response, gated);
      this.#state = "refused";
      if (!answer.hasEnded) response.destroy(asError(error));
      for (const { name, args } of held) this.#drop(name, args);
      // What was piped here is unpiped when the refusal is out: let it run dry, or it would stay open for ever.
      response.on("unpipe", (source: Readable) => source.resume());
    }
  }

  /** The end of a response whose headers have left. */
  #end(args: unknown[]): unknown {
    const response = this.#response;
    if (response.finished) return this.#call("end", args);
    const wait = ask(() => this.#keeper.beforeEnd());
    if (!wait) return this.#call("end", args);
    this.#state = "ending";
    response.finished = true;
    const endSocketHold = holdSocket(response.req.socket);
    wait
      .then(() => {
        response.finished = false;
        this.#state = "passed";
        this.#call("end", args);
      })
      // The status has been sent, so a broken connection is the only way left to say that this failed.
      .catch((error: unknown) => response.destroy(asError(error)))
      .finally(endSocketHold);
    return response;
  }

  /** A call of a handler whose response was refused: its callback runs, its body goes nowhere. */
  #drop(name: MethodName, args: unknown[]): unknown {
    const callback = args.findLast((arg) => typeof arg === "function") as Method | undefined;
    if (callback) process.nextTick(callback);
    return name === "write" ? true : this.#response;
  }

  #take(): { name: MethodName; args: unknown[] }[] {
    const held = this.#held;
    this.#held = [];
    return held;
  }

  #call(name: MethodName, args: unknown[]): unknown {
    return this.#real[name].apply(this.#response, args);
  }
}

/** The keeper's answer. If it throws, that is a refusal too: the handler that sends is not to blame, and could not help. */
function ask<T>(question: () => Promise<T> | undefined): Promise<T> | undefined {
  try {
    return question();
  } catch (error) {
    return Promise.reject(asError(error));
  }
}

/** Whether Node would take a chunk; what it refuses it refuses before it sends anything. */
function isAcceptable(name: MethodName, [chunk]: unknown[]): boolean {
  if (name === "write") return isChunk(chunk);
  return name !== "end" || chunk == null || typeof chunk === "function" || isChunk(chunk);
}

function isChunk(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === "string" || chunk instanceof Uint8Array;
}

function sizeOf(chunk: unknown): number {
  return isChunk(chunk) ? Buffer.byteLength(chunk) : 0;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
