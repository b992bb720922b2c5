/** The requests of one connection, as its era has them. */
import { assert, describe, it } from "@effect/vitest"
import type { Fields } from "../../src/JsonRpc.ts"
import * as Link from "../../src/upstream/Link.ts"
import type { Exchange } from "../../src/upstream/transports/Connection.ts"

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

describe("progress that comes after the answer", () => {
  it("reaches whoever wants it, of the newest requests", () => {
    let id = 0
    let last: Exchange | undefined
    const link = Link.make({
      transport: {
        kind: "in-process",
        open: () => ({
          send: (_, sending) => {
            last = sending
            return () => {}
          },
          post: () => {},
          negotiated: () => {},
          cancelsByClosing: true,
          close: () => Promise.resolve()
        })
      },
      nextId: () => ++id,
      onNotification: () => {},
      onLost: () => {}
    })
    link.open("handshake")
    const told: Array<unknown> = []
    const ask = (wants: boolean) => {
      const own = id + 1
      const onLate = () => wants ? () => void told.push(own) : undefined
      link.request({ method: "tools/call", progress: true, onLate }, () => {}, () => {})
      last?.onReply({ result: {} })
    }
    const progress = (progressToken: unknown) =>
      last?.onMessage({ jsonrpc: "2.0", method: "notifications/progress", params: { progressToken, progress: 1 } })
    ask(true)
    ask(false)
    for (const token of [1, 2, "1", undefined]) progress(token)
    assert.deepStrictEqual(told, [1])
    for (let i = 0; i < 256; i++) ask(true)
    for (const token of [1, 3]) progress(token)
    assert.deepStrictEqual(told, [1, 3])
  })
})
