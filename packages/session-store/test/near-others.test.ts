import { joinNearCache } from "@lockstep/near-cache";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { failureOf, startEngine } from "./harness/engine.ts";
import { type NearEngine, openGroup, until } from "./harness/near.ts";
import { testClient } from "./harness/redis.ts";

const clients = [testClient(), testClient()] as const;

describe("near copies that others keep", () => {
  it.each(["no", "another"])("are respected by a server that is in %s group: it is refused", async (which) => {
    const [one] = (await openGroup([clients[0]])) as [NearEngine];
    const { prefix } = one;
    await one.create("a", { n: 1 });
    await until(async () => expect(await one.client.exists(`${prefix}h:near`)).toBe(1));
    const [other] = (await openGroup([clients[1]])) as [NearEngine];
    const outsider = startEngine(clients[1], { prefix, ...(which === "another" && { near: other.near }) });
    const refused = { code: "UNSAFE_REDIS", status: 500 };
    expect(await failureOf(outsider.sessions.load("a"))).toMatchObject(refused);
    expect(await failureOf(outsider.create("b", { n: 1 }))).toMatchObject(refused);
    expect(await failureOf(outsider.sessions.destroy("a"))).toMatchObject(refused);
    expect(outsider.counted("unsafe-redis")).toHaveLength(1);
    expect(await one.data("a")).toEqual({ n: 1 });
  });

  it("are respected by a server of the same group's name whose client has another part of the keys", async () => {
    const [one] = (await openGroup([clients[0]])) as [NearEngine];
    const { prefix } = one;
    await one.create("a", { n: 1 });
    await until(async () => expect(await one.client.exists(`${prefix}h:near`)).toBe(1));
    const client = clients[1].duplicate({ keyPrefix: prefix });
    const near = await joinNearCache({ client, group: one.near.group, leaseMs: 300 });
    onTestFinished(async () => {
      await near.close();
      client.disconnect();
    });
    // Their keys are alike, and what each revokes is not what the other has copies of.
    const other = startEngine(client, { prefix: "", near });
    expect(await failureOf(other.sessions.load("a"))).toMatchObject({ code: "UNSAFE_REDIS" });
    expect(await failureOf(other.sessions.destroy("a"))).toMatchObject({ code: "UNSAFE_REDIS" });
  });

  it("are no obstacle any more when their servers have gone", async () => {
    const [one] = (await openGroup([clients[0]])) as [NearEngine];
    const claim = `${one.prefix}h:near`;
    await until(async () => expect(await one.client.exists(claim)).toBe(1));
    await one.near.close();
    const outsider = startEngine(clients[1], { prefix: one.prefix });
    await failureOf(outsider.sessions.load("a"));
    // As long after its time as the claim counts.
    const text = (await one.client.get(claim)) ?? "";
    await one.client.set(claim, text.replace(/\d+$/, "1"));
    const now = vi.spyOn(performance, "now").mockReturnValue(performance.now() + 5_000);
    expect(await outsider.sessions.load("a")).toBeUndefined();
    now.mockRestore();
  });

  it("are looked for once", async () => {
    const engine = startEngine(clients[0]);
    const looks = vi.spyOn(clients[0], "time");
    await Promise.all(["a", "b"].map((id) => engine.sessions.load(id)));
    await engine.create("a", { n: 1 });
    await engine.change("a", { n: 2 });
    await engine.sessions.destroy("a");
    expect(looks).toHaveBeenCalledTimes(1);
    looks.mockRestore();
  });

  it("hold up nobody where they can't be looked for", async () => {
    const looks = vi.spyOn(clients[0], "time").mockRejectedValue(new Error("lost"));
    const engine = startEngine(clients[0]);
    await engine.create("a", { n: 1 });
    expect(await engine.data("a")).toEqual({ n: 1 });
    expect(looks).toHaveBeenCalledTimes(1);
    looks.mockRestore();
  });
});
