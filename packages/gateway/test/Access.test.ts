import { assert, describe, it } from "@effect/vitest"
import { IncomingMessage } from "node:http"
import { Socket } from "node:net"
import * as access from "../src/internal/access.ts"

const request = (host: string | undefined): IncomingMessage => {
  const made = new IncomingMessage(new Socket())
  if (host !== undefined) made.headers.host = host
  return made
}

describe("access", () => {
  it("remembers the name that passed last, and no other", () => {
    const refused = access.make({ host: "127.0.0.1", allowedHosts: ["mcp.example.org"] })
    const answers = [
      "mcp.example.org",
      "evil.example.org",
      "evil.example.org",
      "mcp.example.org",
      "mcp.example.org.",
      undefined,
      "mcp.example.org",
      "localhost:7420"
    ].map((host) => refused(request(host)) === undefined)
    assert.deepStrictEqual(answers, [true, false, false, true, false, false, true, true])
  })
})
