// The browsers: keep-alive connections, each of which sends its next request when it has the whole answer to the last.
import { answerParent } from "./asked-process.ts";
import { HttpConnection } from "./http-connection.ts";
import type { Run, RunRequest } from "./rounds.ts";

export interface TargetOptions {
  /** Distinct among those that are open. */
  readonly name: string;
  readonly port: number;
  readonly path: string;
  readonly connections: number;
  /** Signed in beforehand, and used by turns; each by one connection only. 0: requests bring no cookie. */
  readonly sessions: number;
  /** What every answer must contain. */
  readonly expected: string;
}

interface Lane {
  readonly connection: HttpConnection;
  /** The requests of its sessions, as they are sent. */
  readonly requests: readonly string[];
  next: number;
}

interface Target {
  readonly lanes: readonly Lane[];
  readonly expected: string;
}

const targets = new Map<string, Target>();

const answers = {
  open: async ({ name, port, path, connections, sessions, expected }: TargetOptions): Promise<void> => {
    const lanes: Lane[] = [];
    targets.set(name, { lanes, expected });
    for (let lane = 0; lane < connections; lane += 1) {
      const connection = await HttpConnection.open(port);
      const requests = sessions === 0 ? [requestOf(path, undefined)] : [];
      lanes.push({ connection, requests, next: 0 });
      for (let index = lane; index < sessions; index += connections)
        requests.push(requestOf(path, await signIn(connection)));
    }
  },
  run: async ({ name, ...request }: RunRequest & { readonly name: string }): Promise<Omit<Run, "cpuMs">> => {
    const target = targets.get(name);
    if (target === undefined) throw new Error(`${name} is not open.`);
    return run(target, request);
  },
  close: async (name: string): Promise<void> => {
    for (const { connection } of targets.get(name)?.lanes ?? []) connection.close();
    targets.delete(name);
  },
};

export type LoadAnswers = typeof answers;

answerParent(answers);

async function run(
  { lanes, expected }: Target,
  { durationMs, maxCalls, oneByOne }: RunRequest,
): Promise<Omit<Run, "cpuMs">> {
  const latenciesMs: number[] = [];
  let begun = 0;
  const start = performance.now();
  const drive = async (lane: Lane) => {
    let now = performance.now();
    while (now - start < durationMs && begun < maxCalls) {
      begun += 1;
      const request = lane.requests[lane.next % lane.requests.length] ?? "";
      lane.next += 1;
      const answer = await lane.connection.ask(request);
      if (!answer.startsWith("HTTP/1.1 200 ") || !answer.includes(expected)) throw new Error(`An answer was ${answer}`);
      const end = performance.now();
      latenciesMs.push(end - now);
      now = end;
    }
  };
  await Promise.all((oneByOne === true ? lanes.slice(0, 1) : lanes).map(drive));
  const elapsedMs = performance.now() - start;
  return { operations: latenciesMs.length, elapsedMs, latenciesMs: Float64Array.from(latenciesMs) };
}

/** @returns the session's cookie, or one that nobody knows where there are no sessions */
async function signIn(connection: HttpConnection): Promise<string> {
  const answer = await connection.ask(requestOf("/sign-in", undefined));
  return /^set-cookie: ([^;\r]+)/im.exec(answer)?.[1] ?? "none=";
}

function requestOf(path: string, cookie: string | undefined): string {
  const lines = [`GET ${path} HTTP/1.1`, "Host: localhost", "Accept: application/json"];
  return [...lines, ...(cookie === undefined ? [] : [`Cookie: ${cookie}`]), "", ""].join("\r\n");
}
