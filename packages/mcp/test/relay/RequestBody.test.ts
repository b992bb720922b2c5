import { assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import { IncomingMessage, ServerResponse } from "node:http"
import { Socket } from "node:net"
import * as RequestBody from "../../src/relay/http/RequestBody.ts"

describe("the body of a POST", () => {
  it("goes nowhere where its client went meanwhile", async () => {
    for (const gone of [false, true]) {
      const request = new IncomingMessage(new Socket())
      request.headers["content-type"] = "application/json"
      const response = new ServerResponse(request)
      const received: Array<unknown> = []
      RequestBody.receive(request, response, { maxBytes: 100, maxDepth: 10 }, (value) => received.push(value))
      if (gone) response.destroy()
      const ended = once(request, "end")
      request.push("{}")
      request.push(null)
      await ended
      assert.deepStrictEqual(received, gone ? [] : [{}])
    }
  })
})
