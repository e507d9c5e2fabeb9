import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";

/** How much of a body may wait for the headers, in bytes. Whoever heeds `write`'s `false` never comes near it. */
const maxHeldBytes = 16 * 1024 * 1024;

/** What a response waits for. */
export interface GateKeeper {
  /**
   * Asked once, when the headers are about to leave; it may add some. A promise holds the response until it is fulfilled;
   * its value is then called to add headers, since none can be set while the response is held.
   */
  beforeHeaders(): Promise<() => void> | undefined;
  /** Asked when a response whose headers have left (a stream) is about to end. */
  beforeEnd(): Promise<void> | undefined;
  /** Answers instead, before it returns, when the promise of `beforeHeaders` was rejected. All headers are gone. */
  refuse(error: unknown): void;
}

type Method = (...args: unknown[]) => unknown;
type MethodName = "writeHead" | "flushHeaders" | "write" | "end";

/** The fields of Node's ServerResponse that say what has been sent. Express-session and compression read them too. */
interface SentState {
  _header: string | null;
  finished: boolean;
}

type Held = Omit<ServerResponse, keyof SentState> & SentState;

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
export class ResponseGate {
  readonly #response: Held;
  readonly #keeper: GateKeeper;
  readonly #real: Record<MethodName, Method>;
  #state: State = "open";
  #held: { name: MethodName; args: unknown[] }[] = [];
  #heldBytes = 0;

  /** Takes over the methods through which anything leaves; whatever was wrapped around them before stays below. */
  constructor(response: ServerResponse, keeper: GateKeeper) {
    this.#response = response as unknown as Held;
    this.#keeper = keeper;
    const methods = response as unknown as Record<MethodName, Method>;
    const { writeHead, flushHeaders, write, end } = methods;
    this.#real = { writeHead, flushHeaders, write, end };
    methods.writeHead = (...args) => this.#writeHead(args);
    methods.flushHeaders = (...args) => this.#pass("flushHeaders", args);
    methods.write = (...args) => this.#pass("write", args);
    methods.end = (...args) => this.#pass("end", args);
  }

  #writeHead(args: unknown[]): unknown {
    if (this.#state !== "open" || !isStatus(args[0])) return this.#call("writeHead", args);
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
    // Node's own complaint about the argument, while nothing has happened yet.
    if (this.#state === "passed" || (name === "write" && !isChunk(args[0]))) return this.#call(name, args);

    const wait = ask(() => this.#keeper.beforeHeaders());
    if (!wait) {
      this.#state = "passed";
      return this.#call(name, args);
    }
    const { statusCode, statusMessage } = this.#response;
    this.#state = "held";
    this.#response._header = "held";
    const letSocketGo = keepSocket(this.#response.socket);
    const reopen = () => {
      this.#response._header = null;
      this.#response.finished = false;
      Object.assign(this.#response, { statusCode, statusMessage });
    };
    wait.then(
      (addHeaders) => {
        reopen();
        addHeaders();
        this.#release();
        letSocketGo();
      },
      (error: unknown) => {
        reopen();
        this.#refuse(error);
        letSocketGo();
      },
    );
    return this.#hold(name, args);
  }

  #hold(name: MethodName, args: unknown[]): unknown {
    // What Node answers to a call after the end, or to a chunk that is none, it answers without sending anything.
    if (this.#response.finished || (name === "write" && !isChunk(args[0]))) return this.#call(name, args);
    this.#held.push({ name, args });
    if (name === "end") {
      this.#response.finished = true;
      return this.#response;
    }
    if (name !== "write") return name === "writeHead" ? this.#response : undefined;
    this.#heldBytes += sizeOf(args[0]);
    if (this.#held.length > 1 && this.#heldBytes > maxHeldBytes) {
      this.#response.destroy(new Error(`More than ${maxHeldBytes} bytes were written without waiting for "drain".`));
    }
    return false;
  }

  /** Plays the held calls to the real methods. */
  #release(): void {
    this.#state = "passed";
    const held = this.#take();
    let drained = true;
    try {
      for (const [index, { name, args }] of held.entries()) {
        // An end that came after other calls may have changed the session again in between.
        const result = name === "end" && index > 0 ? this.#end(args) : this.#call(name, args);
        if (name === "write") drained = result !== false;
      }
    } catch (error) {
      // Node refused what the handler gave it (a status message, say), too late for the handler to hear.
      this.#response.destroy(error as Error);
      return;
    }
    const stopped = held.some(({ name }) => name === "write") && !this.#response.finished;
    if (stopped && drained) this.#response.emit("drain");
  }

  /** Lets the keeper answer in the handler's place. */
  #refuse(error: unknown): void {
    const response = this.#response;
    const held = this.#take();
    for (const name of response.getHeaderNames()) response.removeHeader(name);
    response.statusMessage = "";
    // As if its end were held already: the answer passes, and the session that could not be stored is not stored after all.
    this.#state = "ending";
    this.#keeper.refuse(error);
    if (!response.finished) response.destroy(error instanceof Error ? error : undefined);
    this.#state = "refused";
    for (const { name, args } of held) this.#drop(name, args);
    // What was piped here is unpiped when the refusal is out: let it run dry, or it would stay open for ever.
    response.on("unpipe", (source: Readable) => source.resume());
  }

  /** The end of a response whose headers have left. */
  #end(args: unknown[]): unknown {
    const response = this.#response;
    if (response.finished) return this.#call("end", args);
    const wait = ask(() => this.#keeper.beforeEnd());
    if (!wait) return this.#call("end", args);
    this.#state = "ending";
    response.finished = true;
    const letSocketGo = keepSocket(response.socket);
    wait.then(
      () => {
        response.finished = false;
        this.#state = "passed";
        this.#call("end", args);
        letSocketGo();
      },
      (error: unknown) => {
        letSocketGo();
        // The status has been sent, so a broken connection is the only way left to say that this failed.
        response.destroy(error instanceof Error ? error : undefined);
      },
    );
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
    return Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Sets what `writeHead(status, [reason], [headers])` was given, and returns what is left to call it with. */
function applyHead(response: Pick<ServerResponse, "setHeader">, [status, second, third]: unknown[]): unknown[] {
  const reason = typeof second === "string" ? second : undefined;
  const headers = reason === undefined ? (second ?? third) : third;
  for (const [name, values] of groupHeaders(headers)) response.setHeader(name, values);
  return reason === undefined ? [status] : [status, reason];
}

/** Headers as Node takes them: an object, or a list of names and values in turn, in which a name may repeat. */
function groupHeaders(headers: unknown): Iterable<[string, string | string[]]> {
  if (!Array.isArray(headers)) return Object.entries((headers ?? {}) as Record<string, string | string[]>);
  const flat = headers.flat() as string[];
  const grouped = new Map<string, string[]>();
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const name = String(flat[at]);
    grouped.set(name, [...(grouped.get(name) ?? []), String(flat[at + 1])]);
  }
  return [...grouped].map(([name, values]) => [name, values.length === 1 ? String(values[0]) : values]);
}

function isStatus(status: unknown): boolean {
  const code = Number(status) | 0;
  return code >= 100 && code <= 999;
}

function isChunk(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === "string" || chunk instanceof Uint8Array;
}

function sizeOf(chunk: unknown): number {
  return isChunk(chunk) ? chunk.length : 0;
}

/**
 * Puts off `socket.destroy()` while a response is held. Express' error handling destroys the socket of a response that
 * has been sent when its handler throws afterwards; of one that was really sent the client would have everything by then.
 *
 * @returns ends that, and does then what was put off
 */
function keepSocket(socket: Socket | null): () => void {
  if (!socket) return () => undefined;
  const destroy = socket.destroy.bind(socket);
  let wanted = false;
  socket.destroy = (error) => {
    if (error) return destroy(error);
    wanted = true;
    return socket;
  };
  return () => {
    Reflect.deleteProperty(socket, "destroy");
    if (wanted) socket.destroySoon();
  };
}
