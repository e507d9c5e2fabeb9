import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// Two kinds of tests. `packages` runs the packages' sources against a real Redis, files side by side.
// `servers` starts whole stacks of real processes (several servers, nginx, Redis, database), so its files take turns.
export default defineConfig({
  resolve: {
    alias: {
      "@lockstep/cache": source("packages/cache/src/index.ts"),
      "@lockstep/near-cache": source("packages/near-cache/src/index.ts"),
      "@lockstep/redis-kit": source("packages/redis-kit/src/index.ts"),
      "@lockstep/session-store/sockets": source("packages/session-store/src/session-sockets.ts"),
      "@lockstep/session-store": source("packages/session-store/src/index.ts"),
    },
  },
  test: {
    reporters: ["default", ["json", { outputFile: ".lockstep/report/test.json" }]],
    projects: [
      {
        extends: true,
        test: {
          name: "packages",
          include: ["packages/*/test/**/*.test.ts", "apps/*/test/**/*.test.ts"],
          globalSetup: "test/harness/package-redis.ts",
          testTimeout: 15_000,
        },
      },
      {
        extends: true,
        test: {
          name: "servers",
          include: ["test/*.test.ts"],
          exclude: ["test/compose.test.ts"],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
