import type { DestroyForUserOptions } from "@lockstep/session-store";
import { type Answer, Client, type HeldRequest } from "../client.ts";
import type { Change, Fields } from "./session-server.ts";

/** A client that has just signed in at `url`, and what its session holds. */
export async function signedIn(url: string, fields: Fields & { readonly user: string }): Promise<Client> {
  const client = new Client();
  const { status, text } = await client.request("POST", `${url}/sign-in`, { json: fields });
  if (status !== 200) throw new Error(`Signing in at ${url} answered ${status}: ${text}`);
  return client;
}

/** What the session holds; `undefined` where nobody is signed in. */
export async function sessionAt(url: string, client: Client): Promise<Fields | undefined> {
  const { status, body, text } = await client.request("GET", `${url}/session`);
  if (status === 401) return undefined;
  if (status !== 200) throw new Error(`GET /session at ${url} answered ${status}: ${text}`);
  return body as Fields;
}

export function change(url: string, client: Client, json: Change): Promise<Answer> {
  return client.request("POST", `${url}/change`, { json });
}

/** A change whose request waits between the load of its session and its handler. */
export async function heldChange(url: string, client: Client, json: Change): Promise<HeldRequest> {
  const held = client.hold("POST", `${url}/change`, { json, headers: { expect: "100-continue" } });
  await Promise.race([held.admitted, held.answer]);
  return held;
}

/** Holds a change at each of the servers until all have loaded the session, then lets all go on at once. */
export async function changeAtOnce(
  client: Client,
  changes: readonly { readonly url: string; readonly change: Change }[],
): Promise<Answer[]> {
  const held = await Promise.all(changes.map(({ url, change }) => heldChange(url, client, change)));
  for (const request of held) request.release();
  return Promise.all(held.map(({ answer }) => answer));
}

/** The handles of a user's sessions, as an administrator sees them. */
export async function handlesOf(url: string, user: string): Promise<string[]> {
  const { body } = await new Client().request("GET", `${url}/users/${user}/sessions`);
  return (body as { handle: string }[]).map(({ handle }) => handle);
}

/** Ends sessions of a user, as an administrator does. @returns how many */
export async function endAll(url: string, user: string, options: DestroyForUserOptions = {}): Promise<number> {
  const answer = await new Client().request("POST", `${url}/users/${user}/sign-out`, { json: options });
  return (answer.body as { ended: number }).ended;
}
