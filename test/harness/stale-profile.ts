import type { Anomaly } from "./anomalies.ts";
import { type Client, signedInClient } from "./client.ts";
import { eventually } from "./eventually.ts";
import type { Stack } from "./stack.ts";

/**
 * G1: a profile that every server has just read from Redis is changed on one of them, and asked of all of them right
 * after: as the profile, as a card of the directory and as a person's page. A violation is one that is from before.
 */
export const staleProfile: Anomaly = async (stack) => {
  const rounds = 9;
  const client = await signedInClient(stack.server(1));
  const { body } = await client.request("GET", `${stack.server(1)}/api/profile`);
  const views = ["/api/profile", "/people?q=visby", `/people/${(body as { id: string }).id}`];
  let stale = 0;
  for (let round = 0; round < rounds; round += 1) {
    await untilCached(stack, client);
    const headline = `Changed in round ${round} at ${Date.now()}`;
    const writer = stack.server((round % stack.servers.length) + 1);
    const changed = await client.request("PATCH", `${writer}/api/profile`, { json: { headline, city: "Visby" } });
    if (changed.status !== 200) throw new Error(`Changing a profile answered ${changed.status}: ${changed.text}`);
    // The other servers first: the one that wrote is the easy one.
    for (let step = 1; step <= stack.servers.length; step += 1) {
      const reader = stack.server(((round + step) % stack.servers.length) + 1);
      for (const view of views) {
        const { text } = await client.request("GET", reader + view);
        if (!text.includes(headline)) stale += 1;
      }
    }
  }
  const attempts = rounds * stack.servers.length * views.length;
  return { attempts, violations: stale, detail: `${rounds} changes, each read ${attempts / rounds} times` };
};

/** Waits until every server has read the client's profile from Redis, which is given nothing to keep in its first seconds. */
export async function untilCached(stack: Stack, client: Client): Promise<void> {
  for (const server of stack.servers) {
    const isCached = async () =>
      (await client.request("GET", `${server}/api/profile`)).headers["x-cache"] !== "database";
    await eventually("the profile is read from Redis", isCached, { withinMs: 20_000, everyMs: 50 });
  }
}
