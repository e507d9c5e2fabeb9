import { defineConfig } from "tsdown";

// redis-kit is compiled in, types included, so that the packed tarball installs alone.
export default defineConfig({
  entry: "src/index.ts",
  platform: "node",
  fixedExtension: false,
  target: "node20",
  dts: { sourcemap: false },
  deps: { alwaysBundle: ["@lockstep/redis-kit"] },
});
