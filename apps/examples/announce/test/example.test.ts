import * as Program from "@portolan/tooling/Program"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const source = (name: string) => fileURLToPath(new URL(`../src/${name}`, import.meta.url))

/** The leases beside the file, as a process that reads it sees them. */
const leases = async (folder: string) => {
  const names = await fs.readdir(path.join(folder, "services.json.d")).catch(() => [])
  return names.filter((name) => name.endsWith(".json"))
}

describe("example announce", () => {
  for (const [how, name, code] of [["one call", "main.ts", "SIGINT"], ["a layer", "layer.ts", 130]] as const) {
    it(`announces itself with ${how}, and is gone when it ends`, async () => {
      const folder = await fs.mkdtemp(path.join(tmpdir(), "portolan-example-"))
      try {
        await using program = Program.start(process.execPath, [source(name)], { cwd: folder })
        const line = /announced as (\S+): (http\S+)\n/
        const [, id = "", url = ""] = line.exec(await program.until((printed) => line.test(printed))) ?? []
        while ((await leases(folder)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
        assert.deepStrictEqual(await leases(folder), [`${id}.json`])
        const reply = await fetch(url, {
          method: "POST",
          headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
          body: JSON.stringify({
            jsonrpc: "2.0",
            id: 1,
            method: "initialize",
            params: {
              protocolVersion: "2025-11-25",
              capabilities: {},
              clientInfo: { name: "test", version: "1.0.0" }
            }
          })
        })
        assert.include(await reply.text(), "\"name\":\"weather\"")
        assert.strictEqual(await program.ended("SIGINT"), code, program.printed())
        assert.deepStrictEqual(await leases(folder), [])
      } finally {
        await fs.rm(folder, { recursive: true })
      }
    })
  }
})
