import { defineConfig } from "tsdown";

// redis-kit is compiled in, types included, so that the packed tarball installs alone.
export default defineConfig({
  entry: ["src/index.ts", "src/prometheus.ts"],
  platform: "node",
  fixedExtension: false,
  target: "node20",
  // `build`: the types of redis-kit are made first, as they are missing in a fresh clone.
  dts: { sourcemap: false, build: true },
  deps: { alwaysBundle: ["@lockstep/redis-kit"] },
});
