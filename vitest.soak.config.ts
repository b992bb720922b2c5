import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

// What takes minutes, or needs the machine for itself: one after the other.
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    include: ["apps/portolan/test/**/*.soak.ts"],
    maxWorkers: 1,
    hookTimeout: 300_000,
    testTimeout: 900_000,
    disableConsoleIntercept: true
  }
})
