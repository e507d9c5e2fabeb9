import { existsSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../../infra/local/processes.mjs";
import { repository } from "../stack.ts";

const version = "22.23.3";

/**
 * A Node that connect-redis 10 runs on: this one if it is new enough, else one from npm, installed on first use.
 *
 * It can't be a dependency of the repository: npm would put its `node` first on the path of every script.
 *
 * @returns the path of the program
 */
export async function node22(): Promise<string> {
  if (Number(process.versions.node.split(".")[0]) >= 22) return process.execPath;
  const folder = join(repository, ".lockstep/node-22");
  const name = `node-${process.platform}-${process.arch}`;
  const program = join(folder, "node_modules", name, "bin/node");
  if (!existsSync(program)) {
    await runCommand({
      name: "The installation of Node 22",
      command: "npm",
      args: ["install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund", `${name}@${version}`],
    });
  }
  return program;
}
