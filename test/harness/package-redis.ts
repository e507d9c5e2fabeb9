import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startRedis } from "../../infra/local/parts.mjs";
import { freePort } from "../../infra/local/processes.mjs";

/** Global setup of the project "packages": one real Redis for all its tests, gone when they are done. */
export default async function startPackageRedis(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "lockstep-packages-"));
  const redis = await startRedis({ role: "state", port: await freePort(), directory, persistent: false });
  project.provide("redisUrl", redis.url);
  return async () => {
    await redis.stop();
    await rm(directory, { recursive: true, force: true });
  };
}
