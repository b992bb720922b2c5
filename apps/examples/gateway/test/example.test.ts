import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import * as Program from "@portolan/tooling/Program"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

describe("example gateway", () => {
  it("serves a tool of its own", async () => {
    const port = await freePort()
    await using program = Program.start(process.execPath, ["src/main.ts"], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      env: { PORT: String(port) }
    })
    const ready = () => fetch(`http://127.0.0.1:${port}/readyz`).then(({ ok }) => ok, () => false)
    for (let tries = 0; !(await ready()); tries++) {
      assert.isBelow(tries, 500, program.printed())
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const client = new Client({ name: "test", version: "1.0.0" })
    await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`)))
    assert.deepStrictEqual((await client.listTools()).tools.map(({ name }) => name), ["house__motd"])
    const { content } = await client.callTool({ name: "house__motd", arguments: {} })
    assert.deepStrictEqual(content, [{ type: "text", text: "hello" }])
    await client.close()
    assert.strictEqual(await program.ended("SIGTERM"), 130, program.printed())
  })
})
