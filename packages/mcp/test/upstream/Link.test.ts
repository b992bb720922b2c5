/** The requests of one connection, as its era has them. */
import { assert, describe, it } from "@effect/vitest"
import type { Fields } from "../../src/JsonRpc.ts"
import * as Link from "../../src/upstream/Link.ts"

const sentOf = (era: "handshake" | "stateless", params: Fields, progress = false): Fields | undefined => {
  let sent: Fields | undefined
  const link = Link.make({
    transport: {
      kind: "in-process",
      open: () => ({
        send: (request) => {
          sent = request.params
          return () => {}
        },
        post: () => {},
        negotiated: () => {},
        cancelsByClosing: true,
        close: () => Promise.resolve()
      })
    },
    nextId: () => 7,
    onNotification: () => {},
    onLost: () => {}
  })
  link.open(era)
  const protocolVersion = era === "handshake" ? "2025-11-25" : "2026-07-28"
  link.attach({ era, protocolVersion, serverInfo: {}, capabilities: {} })
  link.request({ method: "tools/call", params, progress }, () => {}, () => {})
  return sent
}

describe("a request", () => {
  const round = { name: "t", arguments: {}, inputResponses: { who: {} }, requestState: "s" }

  it("goes on with nothing at a server of the handshake era, which knows no rounds", () => {
    assert.deepStrictEqual(sentOf("handshake", round), { name: "t", arguments: {} })
    assert.deepStrictEqual(sentOf("handshake", { name: "t", inputResponses: {} }), { name: "t" })
    assert.deepStrictEqual(sentOf("handshake", round, true), {
      name: "t",
      arguments: {},
      _meta: { progressToken: 7 }
    })
  })

  it("goes on with what its client gave at one of the stateless era", () => {
    const { _meta, ...rest } = sentOf("stateless", round) ?? {}
    assert.deepStrictEqual(rest, round)
    assert.isObject(_meta)
  })
})
