import { defineConfig } from "vitest/config"

// Serves the whole workspace from its root and each package from its own folder.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "packages/*/test/**/*.test.ts", "apps/*/test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    reporters: process.stdout.isTTY === true ? ["default"] : ["dot"]
  }
})
