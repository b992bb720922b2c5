import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const reporter = fileURLToPath(new URL("tooling/reporter.mjs", import.meta.url))

// Serves the whole workspace from its root and each package from its own folder.
export default defineConfig({
  test: {
    include: [
      "test/**/*.test.ts",
      "{packages,apps,apps/examples}/*/test/**/*.test.ts",
      "{docs,tooling}/test/**/*.test.ts"
    ],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    maxWorkers: 3,
    reporters: process.stdout.isTTY === true ? ["default"] : ["minimal", reporter]
  }
})
