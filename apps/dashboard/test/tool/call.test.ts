import { createServer, type IncomingMessage, type RequestListener } from "node:http"
import { afterEach, assert, describe, it } from "vitest"
import { call, headerValue, repeated } from "../../src/pages/tool/call.ts"

let close: (() => void) | undefined
afterEach(() => close?.())

const serving = async (listener: RequestListener): Promise<URL> => {
  const server = createServer(listener)
  close = () => {
    server.closeAllConnections()
    server.close()
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const at = server.address()
  return new URL(`http://127.0.0.1:${typeof at === "object" && at !== null ? at.port : 0}/mcp`)
}

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return text
}

const given = { tool: "weather__get", inputSchema: {}, arguments: { city: "Lisbon" } }
const deaf = { progress: () => {}, said: () => {} }
const json = { "content-type": "application/json" }
const events = { "content-type": "text/event-stream" }
const event = (message: unknown): string =>
  `event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", ...Object(message) })}\n\n`
const signal = () => new AbortController().signal

describe("a call", () => {
  it("says in its headers what its body says", async () => {
    const asked: Array<unknown> = []
    const url = await serving(async (request, response) => {
      const { "mcp-method": method, "mcp-name": name, "mcp-protocol-version": version } = request.headers
      asked.push([method, name, version], JSON.parse(await bodyOf(request)))
      response.writeHead(200, json).end(JSON.stringify({ jsonrpc: "2.0", id: 1, result: { content: [] } }))
    })
    const { ending, exchange } = await call(
      url,
      { ...given, answers: { responses: { a: 1 }, state: "s" } },
      deaf,
      signal()
    )
    assert.deepStrictEqual(ending, { kind: "result", result: { content: [] } })
    assert.strictEqual(exchange.status, 200)
    assert.deepStrictEqual(asked[0], ["tools/call", "weather__get", "2026-07-28"])
    assert.deepInclude(asked[1], { method: "tools/call" })
    const params: unknown = Reflect.get(Object(asked[1]), "params")
    assert.deepInclude(params, {
      name: "weather__get",
      arguments: { city: "Lisbon" },
      inputResponses: { a: 1 },
      requestState: "s"
    })
  })

  it("hears what comes before the answer", async () => {
    const url = await serving((_, response) => {
      response.writeHead(200, events)
      response.write(": here\n\n")
      response.write(
        event({ method: "notifications/progress", params: { progressToken: "call", progress: 1, total: 2 } })
      )
      response.write(event({ method: "notifications/progress", params: { progressToken: "other", progress: 9 } }))
      response.write(event({ method: "notifications/message", params: { level: "info", data: { at: "sea" } } }))
      response.end(event({ id: 1, result: { isError: true } }))
    })
    const heard: Array<unknown> = []
    const { ending } = await call(
      url,
      given,
      { progress: (one) => heard.push(one), said: (one) => heard.push(one) },
      signal()
    )
    assert.deepStrictEqual(heard, [
      { progress: 1, total: 2, message: undefined },
      { level: "info", text: "{\"at\":\"sea\"}" }
    ])
    assert.deepStrictEqual(ending, { kind: "result", result: { isError: true } })
  })

  it("ends at the other side when it is cancelled", async () => {
    const cancelling = new AbortController()
    let left: (() => void) | undefined
    const gone = new Promise<void>((resolve) => left = resolve)
    const url = await serving((_, response) => {
      response.writeHead(200, events)
      response.write(event({ method: "notifications/progress", params: { progressToken: "call", progress: 1 } }))
      response.on("close", () => left?.())
    })
    const { ending } = await call(url, given, { ...deaf, progress: () => cancelling.abort() }, cancelling.signal)
    assert.deepStrictEqual(ending, { kind: "cancelled" })
    await gone
  })

  it("says what was answered in place of a result", async () => {
    const error = { code: -31001, message: "no answer within 8000 ms", data: { instance: "a" } }
    const answers: Readonly<Record<string, RequestListener>> = {
      error: (_, response) => response.writeHead(429, json).end(JSON.stringify({ jsonrpc: "2.0", id: 1, error })),
      problem: (_, response) =>
        response.writeHead(403, { "content-type": "application/problem+json" })
          .end(JSON.stringify({ title: "Origin not allowed", detail: "it may not" })),
      page: (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<h1>Log in</h1>"),
      broken: (_, response) => response.writeHead(502).end(),
      cut: (_, response) => {
        response.writeHead(200, events)
        response.end(": nothing more\n\n")
      }
    }
    const endingOf = async (name: string) => {
      const { ending } = await call(await serving(answers[name] ?? (() => {})), given, deaf, signal())
      close?.()
      return ending.kind === "refused" ? [ending.problem.status, ending.problem.title, ending.problem.detail] : ending
    }
    assert.deepStrictEqual(await endingOf("error"), { kind: "error", ...error })
    assert.deepStrictEqual(await endingOf("problem"), [403, "Origin not allowed", "it may not"])
    assert.deepStrictEqual(await endingOf("page"), [200, "No answer", "what came isn't an answer of the gateway's"])
    assert.deepStrictEqual(await endingOf("broken"), [502, "Bad Gateway", undefined])
    assert.deepStrictEqual(await endingOf("cut"), [
      0,
      "No answer",
      "the connection ended before it came; the call may have run"
    ])
    const nobody = await call(new URL("http://127.0.0.1:9/mcp"), given, deaf, signal())
    assert.strictEqual(nobody.ending.kind === "refused" ? nobody.ending.problem.title : "", "No answer")
  })

  it("repeats arguments in headers, in the form that a header can hold", () => {
    const schema = {
      properties: {
        region: { type: "string", "x-mcp-header": "Region" },
        place: { properties: { id: { type: "integer", "x-mcp-header": "Place" } } },
        other: { type: "string" }
      }
    }
    assert.deepStrictEqual(repeated(schema, { region: "é", place: { id: 7 }, other: "x" }), {
      "mcp-param-region": "=?base64?w6k=?=",
      "mcp-param-place": "7"
    })
    assert.deepStrictEqual(repeated(schema, { place: {} }), {})
    assert.strictEqual(headerValue(" a"), "=?base64?IGE=?=")
    assert.strictEqual(headerValue("=?base64?x?="), "=?base64?PT9iYXNlNjQ/eD89?=")
    assert.strictEqual(headerValue("a b"), "a b")
  })
})
