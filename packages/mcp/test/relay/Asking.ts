/** Servers that ask, and clients that answer. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Fields, Reply } from "../../src/JsonRpc.ts"
import type { UpstreamRequest } from "../../src/upstream/Upstream.ts"
import { eventually } from "../upstream/Harness.ts"
import { both, type harness, type Message, type Open, openRequest } from "./Harness.ts"

export type Built = Effect.Success<ReturnType<typeof harness>>

/** What clients can be asked. */
export const capabilities = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }

export const form = (message: string): Fields => ({
  mode: "form",
  message,
  requestedSchema: { type: "object", properties: { name: { type: "string" } } }
})

/** Asks as a server of the handshake era does, for a request. Interruption withdraws it. */
export const asks = (request: UpstreamRequest, method: string, params?: Fields): Effect.Effect<Reply> =>
  Effect.callback<Reply>((resume) => {
    const withdrawn = new AbortController()
    if (request.onRequest === undefined) {
      return resume(Effect.succeed({ error: { code: -32601, message: "nobody to ask" } }))
    }
    request.onRequest({
      method,
      params,
      withdrawn: withdrawn.signal,
      reply: (reply) => resume(Effect.succeed(reply))
    })
    return Effect.sync(() => withdrawn.abort())
  })

/** A text that says what the client replied. */
export const told = (...replies: ReadonlyArray<Reply>): Reply => ({
  result: {
    content: [{
      type: "text",
      text: JSON.stringify(replies.map((reply) => "error" in reply ? reply.error : reply.result))
    }]
  }
})

export const textOf = (message: Message | undefined): string => {
  const content = message?.result?.["content"] as ReadonlyArray<{ readonly text: string }> | undefined
  return content?.[0]?.text ?? JSON.stringify(message?.error)
}

export interface Required {
  readonly inputRequests: Readonly<Record<string, { readonly method: string; readonly params?: Fields }>>
  readonly requestState: string
}

export const requiredOf = (message: Message | undefined): Required => {
  assert.strictEqual(message?.result?.["resultType"], "input_required", JSON.stringify(message))
  const result = message?.result as unknown as Required
  return { inputRequests: result.inputRequests ?? {}, requestState: result.requestState }
}

/** Calls in the stateless era as a client that can be asked everything. */
export const call = (built: Built, params: Fields, meta: Fields = {}, method = "tools/call") =>
  Effect.map(
    built.stateless(method, params, { "io.modelcontextprotocol/clientCapabilities": capabilities, ...meta }),
    ({ messages }) => messages.at(-1)
  )

/** A session of the handshake era whose client can be asked. */
export const session = Effect.fnUntraced(function*(
  built: Built,
  declared: Fields = capabilities,
  version = "2025-11-25"
) {
  const answer = yield* built.post({
    jsonrpc: "2.0",
    id: 0,
    method: "initialize",
    params: { protocolVersion: version, capabilities: declared, clientInfo: { name: "test", version: "1" } }
  })
  const headers = {
    ...both,
    "mcp-session-id": answer.headers["mcp-session-id"] ?? "",
    "mcp-protocol-version": version
  }
  let id = 0
  return {
    headers,
    open: (params: Fields, method = "tools/call") =>
      openRequest(built.url, "POST", headers, JSON.stringify({ jsonrpc: "2.0", id: ++id, method, params })),
    answer: (message: Message, reply: Reply) => built.post({ jsonrpc: "2.0", id: message.id, ...reply }, headers)
  }
})

/** What the client is asked on a stream, the nth of it. */
export const asked = (open: Open, index = 0): Effect.Effect<Message> =>
  eventually(
    "a question",
    () => open.messages().filter(({ id, method }) => method !== undefined && id !== undefined)[index]
  )

export const lastOf = (open: Open): Effect.Effect<Message | undefined> =>
  Effect.map(
    eventually("the reply's end", () => open.ended() ? true : undefined),
    () =>
      open.headers["content-type"] === "application/json" ? JSON.parse(open.text()) as Message : open.messages().at(-1)
  )
