/** Clients of the stateless era whose calls wait at servers of the handshake era. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Redacted, Scope } from "effect"
import type { Fields } from "../../src/JsonRpc.ts"
import type { UpstreamRequest } from "../../src/upstream/Upstream.ts"
import { eventually } from "../upstream/Harness.ts"
import { asks, type Built, call, capabilities, form, requiredOf, textOf, told } from "./Asking.ts"
import { envelope, harness, modern, openRequest, type Scripted, text } from "./Harness.ts"

const accept = { action: "accept", content: { name: "ann" } }

/** A server that asks one thing, and counts what of it was cancelled. */
const asking = (id = "a") => {
  const figures = { cancelled: 0, ended: 0 }
  const server: Scripted = {
    id,
    answer: (request) =>
      Effect.map(asks(request, "elicitation/create", form("Who?")), (reply) => {
        figures.ended++
        return told(reply)
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => void figures.cancelled++)))
  }
  return { figures, server }
}

const retry = (built: Built, requestState: string, inputResponses: Fields, meta?: Fields, more: Fields = {}) =>
  call(built, { name: "svc__t", ...more, inputResponses, requestState }, meta)

/** Opens a call whose stream is read as it comes. */
const open = (built: Built, params: Fields, meta: Fields = {}, more: Readonly<Record<string, string>> = {}) =>
  openRequest(
    built.url,
    "POST",
    { ...modern("tools/call", "svc__t"), ...more },
    JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: {
        name: "svc__t",
        ...params,
        _meta: envelope({ "io.modelcontextprotocol/clientCapabilities": capabilities, ...meta })
      }
    })
  )

describe("a parked call", () => {
  it.live("gives its server's questions as the result, and goes on with the answers", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              const first = yield* asks(request, "elicitation/create", {
                ...form("Who?"),
                _meta: { progressToken: 1, "com.example/a": 1 }
              })
              const both = yield* Effect.all([
                asks(request, "roots/list"),
                asks(request, "sampling/createMessage", { messages: [], maxTokens: 1 })
              ], { concurrency: 2 })
              return told(first, ...both)
            })
        }],
        offers: [{ name: "t" }]
      })
      const args = { arguments: { x: 1 } }
      const one = requiredOf(yield* call(built, { name: "svc__t", ...args }))
      assert.deepStrictEqual(Object.values(one.inputRequests), [
        { method: "elicitation/create", params: { ...form("Who?"), _meta: { "com.example/a": 1 } } }
      ])
      const [who] = Object.keys(one.inputRequests)
      const two = requiredOf(yield* retry(built, one.requestState, { [who!]: accept, unknown: {} }, {}, args))
      assert.deepStrictEqual(Object.values(two.inputRequests).map(({ method }) => method), [
        "roots/list",
        "sampling/createMessage"
      ])
      const [where, sampled] = Object.keys(two.inputRequests)
      const sample = { role: "assistant", content: { type: "text", text: "hm" }, model: "m" }
      const answers = { [where!]: { roots: [] }, [sampled!]: sample }
      const last = yield* retry(built, two.requestState, answers, {}, args)
      assert.deepStrictEqual(JSON.parse(textOf(last)), [accept, { roots: [] }, sample])
      assert.strictEqual(last?.result?.["resultType"], "complete")
      // It ran once, and was told what its client can do.
      assert.strictEqual(built.asked.length, 1)
      assert.deepStrictEqual(built.asked[0]?.request.caller?.capabilities, capabilities)
      assert.deepStrictEqual(built.asked[0]?.request.params, { name: "t", arguments: { x: 1 } })
      assert.include(built.endpoint.figures(), { callsInFlight: 0, calls: 1, failedCalls: 0 })
    }))

  it.live("asks again for what the client left out", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.map(
              Effect.all([asks(request, "roots/list"), asks(request, "elicitation/create", form("Who?"))], {
                concurrency: 2
              }),
              (replies) => told(...replies)
            )
        }],
        offers: [{ name: "t" }]
      })
      let required = requiredOf(yield* call(built, { name: "svc__t" }))
      const [where, who] = Object.keys(required.inputRequests)
      required = requiredOf(yield* retry(built, required.requestState, { [who!]: accept }))
      assert.deepStrictEqual(Object.keys(required.inputRequests), [where])
      for (const broken of [{}, { [where!]: 5 }, { [where!]: null }]) {
        required = requiredOf(yield* retry(built, required.requestState, broken))
        assert.deepStrictEqual(Object.keys(required.inputRequests), [where])
      }
      const last = yield* retry(built, required.requestState, { [where!]: { roots: [] } })
      assert.deepStrictEqual(JSON.parse(textOf(last)), [{ roots: [] }, accept])
    }))

  it.live("that asks nothing is a call like any other", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", answer: () => Effect.succeed(text("at once")) }],
        offers: [{ name: "t" }]
      })
      assert.strictEqual(textOf(yield* call(built, { name: "svc__t" })), "at once")
    }))

  it.live("of a prompt and of a resource goes on, too", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [asking().server],
        offers: [{ kind: "prompts", name: "p" }, { kind: "resources", name: "x://r" }]
      })
      for (
        const [method, params] of [["prompts/get", { name: "svc__p" }], ["resources/read", { uri: "x://r" }]] as const
      ) {
        const { inputRequests, requestState } = requiredOf(yield* call(built, params, {}, method))
        const inputResponses = { [Object.keys(inputRequests)[0]!]: accept }
        const last = yield* call(built, { ...params, inputResponses, requestState }, {}, method)
        assert.deepStrictEqual(JSON.parse(textOf(last)), [accept])
      }
    }))

  it.live("waits beyond the time of a call, which is that of its server alone", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [asking().server],
        offers: [{ name: "t" }],
        options: { timeout: 200 }
      })
      const { inputRequests, requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      yield* Effect.sleep(400)
      const last = yield* retry(built, requestState, { [Object.keys(inputRequests)[0]!]: accept })
      assert.deepStrictEqual(JSON.parse(textOf(last)), [accept])
    }))

  it.live("is cancelled when nobody comes back in time; the answer is refused then", () =>
    Effect.gen(function*() {
      const { figures, server } = asking()
      const built = yield* harness({ servers: [server], offers: [{ name: "t" }], options: { inputTimeout: 200 } })
      const { requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      yield* eventually("the call's end", () => figures.cancelled === 1 ? true : undefined)
      assert.strictEqual(built.endpoint.figures().callsInFlight, 0)
      assert.strictEqual((yield* retry(built, requestState, {}))?.error?.code, -32602)
    }))

  it.live("is cancelled by who goes on with it", () =>
    Effect.gen(function*() {
      let cancelled = 0
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              yield* asks(request, "roots/list")
              request.onNotification?.({
                jsonrpc: "2.0",
                method: "notifications/message",
                params: { level: "error", data: "going on" }
              })
              return yield* Effect.never
            }).pipe(Effect.onInterrupt(() => Effect.sync(() => void cancelled++)))
        }],
        offers: [{ name: "t" }]
      })
      const level = { "io.modelcontextprotocol/logLevel": "info" }
      const { inputRequests, requestState } = requiredOf(yield* call(built, { name: "svc__t" }, level))
      const inputResponses = { [Object.keys(inputRequests)[0]!]: { roots: [] } }
      const going = yield* open(built, { inputResponses, requestState }, level)
      yield* eventually("a message", () => going.messages().length > 0 ? true : undefined)
      assert.strictEqual(cancelled, 0)
      going.close()
      yield* eventually("the call's end", () => cancelled === 1 ? true : undefined)
      assert.strictEqual((yield* retry(built, requestState, {}))?.error?.code, -32602)
    }))

  it.live("is gone on with once for each state", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              const one = yield* asks(request, "roots/list")
              yield* Effect.sleep(100)
              return told(one, yield* asks(request, "elicitation/create", form("Who?")))
            })
        }],
        offers: [{ name: "t" }]
      })
      const one = requiredOf(yield* call(built, { name: "svc__t" }))
      const inputResponses = { [Object.keys(one.inputRequests)[0]!]: { roots: [] } }
      const replies = yield* Effect.all([1, 2, 3].map(() => retry(built, one.requestState, inputResponses)), {
        concurrency: 3
      })
      const [two, ...others] = replies.filter((reply) => reply?.result !== undefined)
      assert.deepStrictEqual(others, [])
      const required = requiredOf(two)
      const late = yield* retry(built, one.requestState, inputResponses)
      assert.strictEqual(late?.error?.code, -32602)
      assert.include(late?.error?.message, "given before")
      const last = yield* retry(built, required.requestState, { [Object.keys(required.inputRequests)[0]!]: accept })
      assert.deepStrictEqual(JSON.parse(textOf(last)), [{ roots: [] }, accept])
      const over = yield* retry(built, required.requestState, {})
      assert.strictEqual(over?.error?.code, -32602)
    }))

  it.live("belongs to one principal, one method and one name", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [asking().server],
        offers: [{ name: "t" }, { name: "u" }],
        options: { principal: ({ headers }) => headers["x-user"] === undefined ? undefined : String(headers["x-user"]) }
      })
      const whole = Effect.fnUntraced(function*(params: Fields, user: string | undefined) {
        const opened = yield* open(built, params, {}, user === undefined ? {} : { "x-user": user })
        yield* eventually("the reply", () => opened.ended() ? true : undefined)
        return JSON.parse(opened.text())
      })
      const { inputRequests, requestState } = requiredOf(yield* whole({}, "ann"))
      const inputResponses = { [Object.keys(inputRequests)[0]!]: accept }
      for (const user of ["bob", undefined]) {
        const { error } = yield* whole({ requestState, inputResponses }, user)
        assert.strictEqual(error.code, -32602)
      }
      assert.deepStrictEqual(JSON.parse(textOf(yield* whole({ requestState, inputResponses }, "ann"))), [accept])
    }))

  it.live("is that of a request with these arguments; one with others is refused, and it waits on", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: [asking().server], offers: [{ name: "t" }] })
      const { inputRequests, requestState } = requiredOf(
        yield* call(built, { name: "svc__t", arguments: { x: 1, y: 2 } })
      )
      const inputResponses = { [Object.keys(inputRequests)[0]!]: accept }
      const other = yield* retry(built, requestState, inputResponses, {}, { arguments: { x: 2, y: 2 } })
      assert.strictEqual(other?.error?.code, -32602)
      assert.include(other?.error?.message, "other arguments")
      const same = yield* retry(built, requestState, inputResponses, {}, { arguments: { y: 2, x: 1 } })
      assert.deepStrictEqual(JSON.parse(textOf(same)), [accept])
    }))

  it.live("that asked is never tried elsewhere", () =>
    Effect.gen(function*() {
      const answer = (request: UpstreamRequest) =>
        Effect.as(asks(request, "roots/list"), { error: { code: -32603, message: "broken" } })
      const built = yield* harness({
        servers: [{ id: "a", answer }, { id: "b", answer }],
        offers: [{ name: "t", repeatable: true, readOnly: true }]
      })
      const { inputRequests, requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      const reply = yield* retry(built, requestState, { [Object.keys(inputRequests)[0]!]: { roots: [] } })
      assert.strictEqual(reply?.error?.message, "broken")
      assert.strictEqual(built.asked.length, 1)
    }))

  it.live("asks no more what the client that came back doesn't declare", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              const both = yield* Effect.all([
                asks(request, "roots/list"),
                asks(request, "elicitation/create", form("Who?"))
              ], { concurrency: 2 })
              return told(...both, yield* asks(request, "sampling/createMessage", { messages: [], maxTokens: 1 }))
            })
        }],
        offers: [{ name: "t" }]
      })
      const { inputRequests, requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      const declared = { "io.modelcontextprotocol/clientCapabilities": { roots: {} } }
      const inputResponses = { [Object.keys(inputRequests)[0]!]: { roots: [] } }
      const last = yield* retry(built, requestState, inputResponses, declared)
      const [roots, who, sampled] = JSON.parse(textOf(last))
      assert.deepStrictEqual(roots, { roots: [] })
      assert.include(who.message, "did not declare the capability elicitation")
      assert.include(sampled.message, "did not declare the capability sampling")
    }))

  it.live("asks nothing that this era doesn't know", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", answer: (request) => Effect.map(asks(request, "com.example/ask", {}), told) }],
        offers: [{ name: "t" }]
      })
      const reply = yield* call(built, { name: "svc__t" }, {
        "io.modelcontextprotocol/clientCapabilities": { ...capabilities, extensions: { "com.example/asks": {} } }
      })
      const [error] = JSON.parse(textOf(reply))
      assert.strictEqual(error.code, -32601)
      assert.include(error.message, "com.example/ask")
    }))

  it.live("has time while it reports progress, also where the client that came back wants none", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              yield* asks(request, "roots/list")
              for (let progress = 0; progress < 8; progress++) {
                yield* Effect.sleep(100)
                request.onNotification?.({ jsonrpc: "2.0", method: "notifications/progress", params: { progress } })
              }
              return text("done")
            })
        }],
        offers: [{ name: "t" }],
        options: { timeout: 500, maxTimeout: 10_000 }
      })
      const { inputRequests, requestState } = requiredOf(yield* call(built, { name: "svc__t" }, { progressToken: "p" }))
      const reply = yield* retry(built, requestState, { [Object.keys(inputRequests)[0]!]: { roots: [] } })
      assert.strictEqual(textOf(reply), "done")
    }))

  it.live("that ended while its client was away tells how", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            asks(request, "roots/list").pipe(
              Effect.timeoutOption(50),
              Effect.as(text("went on without"))
            )
        }],
        offers: [{ name: "t" }]
      })
      const { requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      yield* eventually("its end", () => built.endpoint.figures().callsInFlight === 0 ? true : undefined)
      assert.strictEqual(textOf(yield* retry(built, requestState, {})), "went on without")
      assert.strictEqual((yield* retry(built, requestState, {}))?.error?.code, -32602)
    }))

  it.live("tells whoever goes on with it of its progress and its messages, under the name that this one gave", () =>
    Effect.gen(function*() {
      const away = Deferred.makeUnsafe<void>()
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              const progress = (progress: number) =>
                request.onNotification?.({
                  jsonrpc: "2.0",
                  method: "notifications/progress",
                  params: { progressToken: "own", progress }
                })
              const log = (data: string) =>
                request.onNotification?.({
                  jsonrpc: "2.0",
                  method: "notifications/message",
                  params: { level: "error", data }
                })
              progress(5)
              log("one")
              const answer = asks(request, "roots/list")
              const waiting = yield* Effect.forkChild(answer, { startImmediately: true })
              yield* Deferred.await(away)
              progress(2)
              log("two")
              yield* Fiber.join(waiting)
              progress(3)
              log("three")
              return text("done")
            })
        }],
        offers: [{ name: "t" }]
      })
      const level = { "io.modelcontextprotocol/logLevel": "info" }
      const first = yield* open(built, {}, { progressToken: "p", ...level })
      yield* eventually("the reply", () => first.ended() ? true : undefined)
      const heard = (messages: typeof first) =>
        messages.messages().flatMap(({ params }) =>
          params === undefined ? [] : [params["data"] ?? [params["progressToken"], params["progress"]]]
        )
      assert.deepStrictEqual(heard(first), [["p", 5], "one"])
      yield* Deferred.succeed(away, undefined)
      yield* Effect.yieldNow
      const { inputRequests, requestState } = requiredOf(first.messages().at(-1))
      const inputResponses = { [Object.keys(inputRequests)[0]!]: { roots: [] } }
      const second = yield* open(built, { inputResponses, requestState }, { progressToken: 7, ...level })
      yield* eventually("the reply", () => second.ended() ? true : undefined)
      assert.deepStrictEqual(heard(second), [[7, 3], "three"])
      assert.strictEqual(textOf(second.messages().at(-1)), "done")
    }))

  it.live("a question that the server withdraws is asked no more", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              const first = yield* Effect.forkChild(asks(request, "roots/list"), { startImmediately: true })
              const second = yield* Effect.forkChild(asks(request, "elicitation/create", form("Who?")), {
                startImmediately: true
              })
              yield* Effect.sleep(100)
              yield* Fiber.interrupt(first)
              return told(yield* Fiber.join(second))
            })
        }],
        offers: [{ name: "t" }]
      })
      const one = requiredOf(yield* call(built, { name: "svc__t" }))
      assert.strictEqual(Object.keys(one.inputRequests).length, 2)
      yield* Effect.sleep(150)
      const two = requiredOf(yield* retry(built, one.requestState, {}))
      assert.deepStrictEqual(Object.values(two.inputRequests).map(({ method }) => method), ["elicitation/create"])
      const last = yield* retry(built, two.requestState, { [Object.keys(two.inputRequests)[0]!]: accept })
      assert.deepStrictEqual(JSON.parse(textOf(last)), [accept])
    }))

  it.live("what the client did not declare isn't asked; one that declared nothing can't be asked at all", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: [asking().server], offers: [{ name: "t" }] })
      for (const declared of [{ roots: {} }, { elicitation: { url: {} } }, {}]) {
        const reply = yield* call(built, { name: "svc__t" }, { "io.modelcontextprotocol/clientCapabilities": declared })
        const [error] = JSON.parse(textOf(reply))
        assert.oneOf(error.code, [-32601, -32602])
      }
    }))

  it.live("there are only so many of them, in all and of one client; what doesn't fit fails alone", () =>
    Effect.gen(function*() {
      const principal = {
        principal: ({ headers }: { readonly headers: Record<string, unknown> }) => String(headers["x-user"])
      }
      const { figures, server } = asking()
      const built = yield* harness({
        servers: [server],
        offers: [{ name: "t" }],
        options: { maxParked: 3, maxParkedPerClient: 2, ...principal }
      })
      const begin = Effect.fnUntraced(function*(user: string) {
        const begun = yield* open(built, {}, {}, { "x-user": user })
        yield* eventually("the reply", () => begun.ended() ? true : undefined)
        return JSON.parse(begun.text())
      })
      const [ann] = [requiredOf(yield* begin("ann")), requiredOf(yield* begin("ann"))]
      assert.include(textOf(yield* begin("ann")), "Too many calls wait for this client")
      requiredOf(yield* begin("bob"))
      assert.include(textOf(yield* begin("eve")), "Too many calls wait for their clients")
      const answer = { [Object.keys(ann!.inputRequests)[0]!]: accept }
      const going = yield* open(built, { inputResponses: answer, requestState: ann!.requestState }, {}, {
        "x-user": "ann"
      })
      yield* eventually("the reply", () => going.ended() ? true : undefined)
      assert.deepStrictEqual(JSON.parse(textOf(JSON.parse(going.text()))), [accept])
      requiredOf(yield* begin("eve"))
      assert.strictEqual(figures.cancelled, 0)
    }))

  it.live("a client without a name is where it comes from", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [asking().server],
        offers: [{ name: "t" }],
        options: { maxParkedPerClient: 1 }
      })
      requiredOf(yield* call(built, { name: "svc__t" }))
      assert.include(textOf(yield* call(built, { name: "svc__t" })), "Too many calls wait for this client")
    }))

  it.live("ends with the endpoint", () =>
    Effect.gen(function*() {
      const { figures, server } = asking()
      const scope = yield* Scope.make()
      const built = yield* Scope.provide(harness({ servers: [server], offers: [{ name: "t" }] }), scope)
      for (let time = 0; time < 5; time++) requiredOf(yield* call(built, { name: "svc__t" }))
      assert.strictEqual(built.endpoint.figures().callsInFlight, 5)
      yield* Scope.close(scope, Exit.void)
      yield* eventually("their end", () => figures.cancelled === 5 ? true : undefined)
    }))

  it.live("holds up no shutdown: when the endpoint drains, it ends", () =>
    Effect.gen(function*() {
      const { figures, server } = asking()
      const built = yield* harness({ servers: [server], offers: [{ name: "t" }] })
      requiredOf(yield* call(built, { name: "svc__t" }))
      yield* built.endpoint.drain
      yield* eventually("its end", () => figures.cancelled === 1 ? true : undefined)
    }))

  it.live("waits at one replica; another one says so", () =>
    Effect.gen(function*() {
      const replica = (sessionKey?: Redacted.Redacted<string>) =>
        harness({ servers: [asking().server], offers: [{ name: "t" }], options: { sessionKey } })
      const key = Redacted.make("a key that replicas share")
      const [one, other, stranger] = yield* Effect.all([replica(key), replica(key), replica()])
      const { inputRequests, requestState } = requiredOf(yield* call(one, { name: "svc__t" }))
      const inputResponses = { [Object.keys(inputRequests)[0]!]: accept }
      const reply = yield* retry(other, requestState, inputResponses)
      assert.strictEqual(reply?.error?.code, -31000)
      assert.include(reply?.error?.message, "another replica")
      assert.strictEqual((yield* retry(stranger, requestState, inputResponses))?.error?.code, -32602)
      assert.deepStrictEqual(JSON.parse(textOf(yield* retry(one, requestState, inputResponses))), [accept])
    }))

  it.live("a call whose user has to go elsewhere first comes again at the server that said where", () =>
    Effect.gen(function*() {
      const elicitations = [{ mode: "url", message: "m", url: "https://x.test", elicitationId: "e" }]
      const been = new Set<string>()
      const built = yield* harness({
        servers: ["a", "b", "c", "d"].map((id) => ({
          id,
          answer: () =>
            Effect.sync(() => {
              if (been.has(id)) return text("been there")
              been.add(id)
              return { error: { code: -32042, message: "first", data: { elicitations } } }
            })
        })),
        offers: [{ name: "t" }],
        balancing: { strategy: "round-robin" }
      })
      for (let time = 0; time < 4; time++) {
        been.clear()
        const { requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
        assert.strictEqual(textOf(yield* retry(built, requestState, { "url-1": { action: "accept" } })), "been there")
      }
    }))

  it.live("a call whose user has to go elsewhere first comes again by itself", () =>
    Effect.gen(function*() {
      const elicitations = [{ mode: "url", message: "m", url: "https://x.test", elicitationId: "e" }]
      let calls = 0
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: () =>
            Effect.succeed(
              calls++ === 0 ? { error: { code: -32042, message: "first", data: { elicitations } } } : text("been there")
            )
        }],
        offers: [{ name: "t" }]
      })
      const { inputRequests, requestState } = requiredOf(yield* call(built, { name: "svc__t", arguments: { x: 1 } }))
      assert.deepStrictEqual(inputRequests, {
        "url-1": { method: "elicitation/create", params: { mode: "url", message: "m", url: "https://x.test" } }
      })
      const inputResponses = { "url-1": { action: "accept" } }
      const last = yield* call(built, { name: "svc__t", arguments: { x: 1 }, inputResponses, requestState })
      assert.strictEqual(textOf(last), "been there")
      assert.deepStrictEqual(built.asked.map(({ request }) => request.params), [
        { name: "t", arguments: { x: 1 } },
        { name: "t", arguments: { x: 1 } }
      ])
      calls = 0
      const forms = { "io.modelcontextprotocol/clientCapabilities": { elicitation: {} } }
      assert.strictEqual((yield* call(built, { name: "svc__t" }, forms))?.error?.code, -32042)
    }))
})
