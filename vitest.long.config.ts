import { defineConfig, mergeConfig } from "vitest/config";
import shared from "./vitest.config.ts";

// `npm run test:faults` and `npm run soak`: what takes too long for every run of the tests.
export default mergeConfig(
  { resolve: shared.resolve },
  defineConfig({
    test: {
      include: ["test/{faults,soak}/*.test.ts"],
      testTimeout: 180_000,
      hookTimeout: 60_000,
      fileParallelism: false,
      // Who waits for an hour sees how far it is, in a log too.
      reporters: ["verbose"],
    },
  }),
);
