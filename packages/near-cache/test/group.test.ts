import { describe, expect, it } from "vitest";
import { joinAs, keepCopy, served, uniqueGroup, untilSettled, write } from "./harness/members.ts";

describe("a group", () => {
  it("serves copies under a lease, and none once a write of another member has returned", async () => {
    const group = uniqueGroup();
    const [a, b] = [await joinAs({ group }), await joinAs({ group })];
    await untilSettled(a, b);
    for (let round = 0; round < 50; round += 1) {
      keepCopy(a, "k");
      expect(served(a, "k")).toBe(1);
      expect(await write(b, "k")).toBe("revoked");
      expect(served(a, "k")).toBeUndefined();
    }
    expect(a.near.counts()).toMatchObject({ gaps: 0, applied: 51 });
    expect(b.near.counts()).toMatchObject({ stalls: 0, revocations: 51 });
  });

  it("renews its lease, so that a copy is served for as long as nobody revokes it", async () => {
    const a = await joinAs({ group: uniqueGroup() });
    keepCopy(a, "k");
    const until = performance.now() + 1_200;
    while (performance.now() < until) {
      expect(served(a, "k")).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
});
