import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Stacks of real processes (several servers, nginx, Redis, database): their files take turns. */
const servers = { fileParallelism: false, testTimeout: 60_000, hookTimeout: 60_000 };

/** What shows that servers share: all of it on a Cluster too, and elsewhere what the mission asks for. */
const mission = ["test/visibility.test.ts"];
const topologies = [
  {
    topology: "cluster",
    include: [...mission, "test/anomalies.test.ts", "test/people.test.ts", "test/profile-views.test.ts"],
  },
  { topology: "sentinel", include: mission },
  { topology: "memcached", include: mission },
];

// Two kinds of tests. `packages` runs the packages' sources against a real Redis, files side by side. `servers` starts whole
// stacks, and `servers-…` the same on other topologies.
export default defineConfig({
  resolve: {
    alias: {
      "@lockstep/cache/memcached": source("packages/cache/src/memcached.ts"),
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
          exclude: ["test/compose*.test.ts"],
          ...servers,
        },
      },
      // The same tests where what the servers share is more than one Redis.
      ...topologies.map(({ topology, include }) => ({
        extends: true as const,
        test: { name: `servers-${topology}`, include, env: { TEST_TOPOLOGY: topology }, ...servers },
      })),
    ],
  },
});
