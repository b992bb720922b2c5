import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as Directory from "./directory.ts"

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")
const example = new URL("./example.ts", import.meta.url)

describe("README", () => {
  it("shows the example that is run", () => assert.include(readme, readFileSync(example, "utf8").trimEnd()))

  it.live("has an example that does what it says", () =>
    Effect.gen(function*() {
      const directory = yield* Directory.make
      const [, services = ""] = /```json\n([^]*?)```/.exec(readme) ?? []
      yield* Effect.promise(() => fs.writeFile(path.join(directory, "services.json"), services))
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [example.pathname], { cwd: directory, stdio: ["ignore", "pipe", "inherit"] })
        ),
        (child) => Effect.sync(() => void child.kill("SIGKILL"))
      )
      const printed = yield* Effect.promise(() =>
        new Promise((resolve) => child.stdout.once("data", (chunk) => resolve(String(chunk))))
      )
      assert.strictEqual(printed, "Added weather-1 weather\n")
    }))
})
