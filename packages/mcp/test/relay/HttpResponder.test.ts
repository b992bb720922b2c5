/**
 * The reply to one POST, without a connection.
 */
import { assert, describe, it } from "@effect/vitest"
import { IncomingMessage, ServerResponse } from "node:http"
import { Socket } from "node:net"
import type { EventStream } from "../../src/relay/http/EventStream.ts"
import * as HttpResponder from "../../src/relay/http/HttpResponder.ts"

const make = (options: Partial<HttpResponder.HttpResponderOptions> = {}) => {
  const kept: Array<EventStream> = []
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  const responder = HttpResponder.make(response, {
    json: true,
    events: true,
    expected: 1,
    batch: false,
    maxBuffered: 1_000,
    written: () => {},
    keep: (connection) => {
      kept.push(connection)
      return connection
    },
    ...options
  })
  return { kept, response, responder }
}

describe("a reply", () => {
  it("that is long in coming becomes a stream", () => {
    const { kept, responder } = make()
    responder.keepAlive()
    assert.lengthOf(kept, 0)
    responder.keepAlive()
    assert.lengthOf(kept, 1)
  })

  it("that its client takes long to read is no stream", () => {
    const { kept, responder, response } = make()
    responder.reply(1, { result: { text: "x".repeat(1_000_000) } })
    for (let count = 0; count < 3; count++) responder.keepAlive()
    assert.lengthOf(kept, 0)
    assert.strictEqual(response.getHeader("content-type"), undefined)
    assert.deepStrictEqual([response.writableEnded, response.writableFinished], [true, false])
  })

  it("of a client that can't take events never becomes a stream", () => {
    const { kept, responder, response } = make({ events: false })
    for (let count = 0; count < 3; count++) responder.keepAlive()
    responder.notify({ jsonrpc: "2.0", method: "notifications/message" })
    assert.isFalse(responder.isOpen?.())
    assert.deepStrictEqual([kept.length, response.headersSent], [0, false])
  })

  it("whose client went before its first event is not kept: there is no event to come back for", () => {
    const { kept, responder, response } = make()
    response.destroy()
    assert.isFalse(responder.isOpen?.())
    responder.notify({ jsonrpc: "2.0", method: "notifications/message" })
    responder.reply(1, { result: {} })
    assert.lengthOf(kept, 0)
  })

  it("to requests that were all cancelled is empty, and no stream to come back for", () => {
    for (const [events, status] of [[true, 200], [false, 204]] as const) {
      const { kept, responder, response } = make({ events })
      responder.skip()
      assert.deepStrictEqual([response.statusCode, response.writableEnded, kept.length], [status, true, 0])
    }
  })

  it("is a way to the client until its last request is answered", () => {
    const { responder } = make({ expected: 2, batch: true })
    assert.deepStrictEqual([responder.isOpen?.(), responder.keeps?.()], [true, false])
    responder.notify({ jsonrpc: "2.0", method: "notifications/message" })
    responder.reply(1, { result: {} })
    assert.deepStrictEqual([responder.isOpen?.(), responder.keeps?.()], [true, true])
    responder.skip()
    assert.deepStrictEqual([responder.isOpen?.(), responder.keeps?.()], [false, false])
  })
})
