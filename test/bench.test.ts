import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lines } from "../bench/cache-lines.ts";
import { sectionOf } from "../bench/cache-table.ts";
import { summarize, type Turn } from "../bench/rounds.ts";
import { sessionLines } from "../bench/session-lines.ts";
import { runCommand } from "../infra/local/processes.mjs";
import { repository } from "./harness/stack.ts";

describe("npm run bench", () => {
  const benchmarks: { name: string; lines: readonly { title: string; products: readonly { name: string }[] }[] }[] = [
    { name: "cache", lines },
    { name: "sessions", lines: sessionLines },
  ];

  // Nine processes on what may be a busy machine, and Lockstep keeps nothing in the first seconds of a Redis.
  it.each(benchmarks)(
    "puts every product in every line of the table of $name, without a failure",
    async (benchmark) => {
      const args = [join(repository, "bench/run.mjs"), benchmark.name, "--quick"];
      await runCommand({ name: "The benchmark", command: process.execPath, args });

      const report = await readFile(join(repository, `.lockstep/report/bench-${benchmark.name}-quick.md`), "utf8");
      const sections = new Map(report.split(/^## /m).map((section) => [section.split("\n")[0], section]));
      for (const { title, products } of benchmark.lines) {
        const rows = (sections.get(title) ?? "").split("\n").filter((row) => row.startsWith("| "));
        const names = rows.slice(2).map((row) => row.split(" | ")[0]?.slice(2));
        expect(names, title).toEqual(products.map(({ name }) => name));
        expect(rows.join("\n"), title).not.toMatch(/failed|NaN|undefined/);
      }
    },
    120_000,
  );

  it("measures what near copies cost and save, in every group", async () => {
    const args = [join(repository, "bench/run.mjs"), "near", "--quick"];
    await runCommand({ name: "The benchmark", command: process.execPath, args });
    const report = await readFile(join(repository, ".lockstep/report/bench-near-quick.md"), "utf8");
    for (const part of [
      "| a read of a strict collection's copies |",
      "| 3 members |",
      "| 3 members, bare |",
      "| 50 ms |",
      "| the first write, at once |",
      "| 3, 0 ms, near copies |",
    ])
      expect(report).toContain(part);
    expect(report).not.toMatch(/NaN|undefined|Infinity/);
  }, 120_000);

  it("compares the turns of one round, and takes the median of what it finds", () => {
    const summary = summarize([turn(20), turn(60), turn(40)], [turn(10), turn(15), turn(40)]);
    expect(summary.ratio).toEqual({ median: 2, min: 1, max: 4 });
    expect(summary.operationUs).toEqual({ median: 40, min: 20, max: 60 });
  });

  it("tells the slowest hundredth of all calls, and nothing where too few were made", () => {
    const latenciesMs = Float64Array.from({ length: 100 }, (_, index) => index + 1);
    const { p99Us, p999Us } = summarize([turn(10, latenciesMs)], undefined);
    expect(p99Us).toBe(99_000);
    expect(p999Us).toBeNaN();
  });

  it("names the product that failed and why, and leaves the others what they have", () => {
    const [line] = lines;
    if (line === undefined) throw new Error("The table has no lines.");
    const counts = { commands: 1, inScripts: 0, reads: 1, loads: 0 };
    const { rows, remarks } = sectionOf(line, [
      { name: "first", turns: [], counts: undefined, failure: "It broke." },
      { name: "second", turns: [turn(20)], counts, failure: undefined },
    ]);
    expect(rows[1]?.slice(0, 2)).toEqual(["first", "failed"]);
    expect(rows[2]?.slice(0, 4)).toEqual(["second", "–", "–", "20.0"]);
    expect(remarks).toContain("first failed: It broke.");
  });
});

/** Ten operations that took so long each. */
function turn(operationUs: number, latenciesMs = new Float64Array()): Turn {
  return { run: { operations: 10, elapsedMs: operationUs / 100, cpuMs: 0.1, loads: 0, latenciesMs }, redisCpuMs: 0.1 };
}
