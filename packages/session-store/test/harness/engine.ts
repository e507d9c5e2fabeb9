import { onTestFinished } from "vitest";
import { type SessionEvent, type SessionsOptions, SessionStoreError, createSessions } from "../../src/index.ts";
import { uniquePrefix } from "./redis.ts";

/** A session's cookie, as express-session would have made it. */
export const cookie = { originalMaxAge: 60_000, expires: null, httpOnly: true, path: "/" };

/**
 * An engine of one server, and what a request would do with it.
 *
 * @param make of a copy of the package, with a rule cut out
 */
export function startEngine(
  client: SessionsOptions["client"],
  options: Partial<SessionsOptions> = {},
  make = createSessions,
) {
  const prefix = options.prefix ?? uniquePrefix();
  const events: SessionEvent[] = [];
  const sessions = make({ client, prefix, onEvent: (event) => events.push(event), ...options });
  onTestFinished(() => {
    sessions.close();
  });
  const load = async (id: string) => {
    const tracked = await sessions.load(id);
    if (!tracked) throw new Error("there is no such session");
    return { tracked, fields: sessions.read(tracked) ?? {} };
  };
  const create = (id: string, data: object) => sessions.commit(sessions.born(id), { cookie, ...data });
  const change = async (id: string, data: object) => {
    const { tracked, fields } = await load(id);
    return sessions.commit(tracked, { ...fields, ...data });
  };
  const data = async (id: string) => {
    const { cookie: _cookie, ...rest } = (await load(id)).fields;
    return rest;
  };
  const counted = (type: SessionEvent["type"]) => events.filter((event) => event.type === type);
  return { sessions, prefix, events, load, create, change, data, counted };
}

/** The failure of a session's operation. */
export async function failureOf(work: Promise<unknown>): Promise<SessionStoreError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SessionStoreError)) throw new Error("it did not fail as it should", { cause: error });
  return error;
}
