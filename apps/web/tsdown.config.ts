import { defineConfig } from "tsdown";

export default defineConfig({
  entry: ["src/main.ts", "src/migrate.ts"],
  platform: "node",
  fixedExtension: false,
  target: "node20",
  dts: false,
});
