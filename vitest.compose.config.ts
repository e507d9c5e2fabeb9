import { defineConfig } from "vitest/config";

// `npm run test:compose` starts the containers and gives their addresses in the environment.
export default defineConfig({
  test: {
    include: ["test/compose*.test.ts"],
    fileParallelism: false,
    reporters: ["default", ["json", { outputFile: ".lockstep/report/compose.json" }]],
    testTimeout: 90_000,
    hookTimeout: 300_000,
  },
});
