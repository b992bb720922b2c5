/**
 * Requests of servers, without any connection.
 */
import { assert, describe, it } from "@effect/vitest"
import type { JsonRpcNotification, JsonRpcRequest } from "../../src/JsonRpc.ts"
import * as ServerRequests from "../../src/upstream/ServerRequests.ts"
import type { ServerRequest } from "../../src/upstream/Upstream.ts"

/** Asks; what is told to the server is sent when `sent` is called. */
const asking = (params: JsonRpcRequest["params"]) => {
  const told: Array<JsonRpcNotification["params"]> = []
  const sending: Array<() => void> = []
  const requests = ServerRequests.make(() => {}, ({ params }, sent) => {
    told.push(params)
    sending.push(sent)
  })
  const asked: Array<ServerRequest> = []
  requests.ask({ jsonrpc: "2.0", id: 1, method: "roots/list", params }, undefined, (request) => asked.push(request))
  const [request] = asked
  return { request: request ?? assert.fail("not asked"), requests, told, sent: () => sending.shift()?.() }
}

describe("progress towards a server", () => {
  it("carries the server's token, one at a time and the last of those meanwhile", () => {
    const { request, sent, told } = asking({ _meta: { progressToken: "t" } })
    for (let progress = 1; progress <= 1_000; progress++) request.progress?.({ progress })
    assert.deepStrictEqual(told, [{ progress: 1, progressToken: "t" }])
    sent()
    assert.deepStrictEqual(told.slice(1), [{ progress: 1_000, progressToken: "t" }])
    sent()
    request.progress?.({ progress: 1_001 })
    assert.lengthOf(told, 3)
  })

  it("ends with the answer, and when the server wants none", () => {
    for (const end of ["reply", "withdraw", "end"] as const) {
      const { request, requests, sent, told } = asking({ _meta: { progressToken: 0 } })
      request.progress?.({ progress: 1 })
      request.progress?.({ progress: 2 })
      if (end === "reply") request.reply({ result: {} })
      else if (end === "withdraw") requests.withdraw(1)
      else requests.end()
      sent()
      request.progress?.({ progress: 3 })
      assert.lengthOf(told, 1, end)
    }
  })

  it("is for servers that ask for it", () => {
    for (const params of [undefined, {}, { _meta: {} }, { _meta: { progressToken: {} } }]) {
      assert.isUndefined(asking(params).request.progress)
    }
  })
})
