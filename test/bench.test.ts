import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { lines } from "../bench/cache-lines.ts";
import { runCommand } from "../infra/local/processes.mjs";
import { repository } from "./harness/stack.ts";

it("npm run bench -- cache puts every product in every line of its table, without a failure", async () => {
  const args = [join(repository, "bench/run.mjs"), "cache", "--quick"];
  await runCommand({ name: "The benchmark", command: process.execPath, args });

  const report = await readFile(join(repository, ".lockstep/report/bench-cache-quick.md"), "utf8");
  const sections = new Map(report.split(/^## /m).map((section) => [section.split("\n")[0], section]));
  for (const { title, products } of lines) {
    const rows = (sections.get(title) ?? "").split("\n").filter((row) => row.startsWith("| "));
    expect(
      rows.slice(2).map((row) => row.split(" | ")[0]),
      title,
    ).toEqual(products.map(({ name }) => `| ${name}`));
    expect(rows.join("\n"), title).not.toMatch(/failed|NaN|undefined/);
  }
});
