import { type ChildProcess, spawn } from "node:child_process";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { buildProgram } from "../../../test/harness/mutant.ts";
import { joinAs, uniqueGroup, until, untilSettled, write } from "./harness/members.ts";

const leaseMs = 600;

describe("a member in another process", () => {
  let program: string;

  beforeAll(async () => {
    program = await buildProgram("packages/near-cache/test/harness/member-process.ts", "near-cache");
  }, 60_000);

  /** A member in a process of its own, which serves its copy, and one here that writes. */
  async function openPair() {
    const group = uniqueGroup();
    const writer = await joinAs({ group, leaseMs });
    await untilSettled(writer);
    const child = spawn(process.execPath, [program, inject("redisUrl"), group, `${leaseMs}`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const said = linesOf(child);
    await until(() => expect(said).toContain("serves"));
    return { writer, child, said };
  }

  it("serves nothing old when it goes on after it was stopped, and joins again", async () => {
    const { writer, child, said } = await openPair();
    child.kill("SIGSTOP");
    const startedAt = performance.now();
    expect(await write(writer, "k")).toBe("revoked");
    expect(performance.now() - startedAt).toBeLessThan(writer.near.stallMs + 250);
    expect(writer.near.counts()).toMatchObject({ stalls: 1, removedMembers: 1 });
    // What it said before it was stopped has come by now.
    said.length = 0;
    child.kill("SIGCONT");
    await until(() => expect(said).toContain("joined"));
    expect(said).not.toContain("serves");
  });

  it("holds up one write when it was killed, and no other", async () => {
    const { writer, child } = await openPair();
    child.kill("SIGKILL");
    for (const [within, stalls] of [
      [writer.near.stallMs + 250, 1],
      [100, 1],
    ] as const) {
      const startedAt = performance.now();
      expect(await write(writer, "k")).toBe("revoked");
      expect(performance.now() - startedAt).toBeLessThan(within);
      expect(writer.near.counts().stalls).toBe(stalls);
    }
  });
});

function linesOf({ stdout }: ChildProcess): string[] {
  const lines: string[] = [];
  stdout?.setEncoding("utf8").on("data", (text: string) => lines.push(...text.split("\n").filter(Boolean)));
  return lines;
}
