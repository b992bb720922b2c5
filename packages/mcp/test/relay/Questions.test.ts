/**
 * What the gateway asks a client, without any transport.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { Fields, JsonRpcNotification, JsonRpcRequest, Reply } from "../../src/JsonRpc.ts"
import * as Questions from "../../src/relay/sessions/Questions.ts"

/** A way that remembers what was said on it. */
const makeWay = (open = true) => {
  const said: Array<JsonRpcRequest | JsonRpcNotification> = []
  const state = { open }
  return {
    said,
    state,
    request: (request: JsonRpcRequest) => void said.push(request),
    notify: (notification: JsonRpcNotification) => void said.push(notification),
    isOpen: () => state.open
  }
}

const capabilities = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} }

const asked = (given: Partial<Questions.Asked> = {}, options: Partial<Questions.QuestionsOptions> = {}) => {
  const outlets: Array<ReturnType<typeof makeWay>> = []
  const questions = Questions.make(
    { protocolVersion: "2025-11-25", capabilities, outlets, ...given },
    { inputTimeout: 60_000, reachTimeout: 5_000, maxQuestions: 3, ...options }
  )
  const ask = (method: string, params?: Fields, way?: Questions.Way) =>
    Effect.forkChild(questions.ask(method, params, way), { startImmediately: true })
  return { questions, outlets, ask }
}

const idOf = (message: object | undefined) =>
  message !== undefined && "id" in message && typeof message.id === "string" ? message.id : assert.fail("not asked")

const code = (reply: Reply) => "error" in reply ? reply.error.code : undefined

describe("Questions", () => {
  it.effect("go out on the way of their request and come back by their id", () =>
    Effect.gen(function*() {
      const { ask, outlets, questions } = asked()
      outlets.push(makeWay())
      const way = makeWay()
      const one = yield* ask("roots/list", undefined, way)
      const two = yield* ask("sampling/createMessage", { maxTokens: 1 }, way)
      assert.deepStrictEqual(way.said.map((each) => [each.method, each.params]), [
        ["roots/list", undefined],
        ["sampling/createMessage", { maxTokens: 1 }]
      ])
      assert.deepStrictEqual(outlets[0]?.said, [])
      const [first, second] = way.said.map(idOf)
      assert.strictEqual(questions.answer(second ?? "", { result: { role: "user" } }), "taken")
      assert.strictEqual(questions.answer(first ?? "", { error: { code: -1, message: "no" } }), "taken")
      assert.deepStrictEqual(yield* Fiber.join(two), { result: { role: "user" } })
      assert.deepStrictEqual(yield* Fiber.join(one), { error: { code: -1, message: "no" } })
      assert.strictEqual(questions.pending(), 0)
    }))

  it.effect("know an answer that comes twice from one that nobody asked for", () =>
    Effect.gen(function*() {
      const { ask, questions } = asked()
      const way = makeWay()
      const fiber = yield* ask("roots/list", undefined, way)
      const id = idOf(way.said[0])
      assert.strictEqual(questions.answer("1", { result: {} }), "unasked")
      assert.strictEqual(questions.answer(1, { result: {} }), "unasked")
      assert.strictEqual(questions.answer(id, { result: { roots: [] } }), "taken")
      assert.strictEqual(questions.answer(id, { result: { roots: [1] } }), "late")
      assert.deepStrictEqual(yield* Fiber.join(fiber), { result: { roots: [] } })
    }))

  it.effect("hear how far the client is, under ids of their own, until they are answered", () =>
    Effect.gen(function*() {
      const { ask, questions } = asked()
      const way = makeWay()
      const heard: Array<Fields> = []
      const params = { maxTokens: 1, _meta: { progressToken: 7, "x.test/a": 1 } }
      const hear = (progress: Fields) => void heard.push(progress)
      yield* Effect.forkChild(questions.ask("sampling/createMessage", params, way, hear), { startImmediately: true })
      yield* ask("sampling/createMessage", params, way)
      const [wanted, unwanted] = way.said
      const id = idOf(wanted)
      assert.deepStrictEqual(wanted?.params, { maxTokens: 1, _meta: { progressToken: id, "x.test/a": 1 } })
      assert.deepStrictEqual(unwanted?.params, { maxTokens: 1, _meta: { "x.test/a": 1 } })
      for (const progressToken of [7, "7", idOf(unwanted), undefined]) {
        questions.progress({ progressToken, progress: 9 })
      }
      questions.progress({ progressToken: id, progress: 1, total: 2, _meta: { progressToken: 3 } })
      questions.answer(id, { result: {} })
      questions.progress({ progressToken: id, progress: 2 })
      assert.deepStrictEqual(heard, [{ progress: 1, total: 2 }])
    }))

  it.effect("are put only to clients that declared that they can be asked", () =>
    Effect.gen(function*() {
      const way = makeWay()
      const table: ReadonlyArray<readonly [Partial<Questions.Asked>, string, Fields | undefined, number]> = [
        [{ capabilities: {} }, "roots/list", undefined, -32601],
        [{ capabilities: { roots: {} } }, "sampling/createMessage", {}, -32601],
        [{ capabilities: { elicitation: true } }, "elicitation/create", {}, -32601],
        [{ capabilities: { elicitation: {} } }, "elicitation/create", { mode: "url" }, -32602],
        [{ capabilities: { elicitation: { url: {} } } }, "elicitation/create", { mode: "form" }, -32602],
        [{ capabilities: { elicitation: { url: {} } } }, "elicitation/create", {}, -32602],
        [{ protocolVersion: "2025-06-18" }, "elicitation/create", { mode: "url" }, -32602],
        [{ protocolVersion: "2025-03-26" }, "elicitation/create", {}, -32601]
      ]
      for (const [client, method, params, expected] of table) {
        const { questions } = asked(client)
        assert.strictEqual(code(yield* questions.ask(method, params, way)), expected, JSON.stringify([client, params]))
      }
      assert.deepStrictEqual(way.said, [])
      const { ask } = asked({ capabilities: { elicitation: {} } })
      yield* ask("elicitation/create", { mode: "form" }, way)
      assert.lengthOf(way.said, 1)
    }))

  it.effect("keep what belongs to the server's hop away from the client", () =>
    Effect.gen(function*() {
      const { ask } = asked()
      const way = makeWay()
      const task = { "io.modelcontextprotocol/related-task": { taskId: "t" } }
      yield* ask("roots/list", { _meta: { progressToken: 1 } }, way)
      yield* ask("roots/list", { _meta: { progressToken: 1, ...task } }, way)
      assert.deepStrictEqual(way.said.map((each) => each.params), [{}, { _meta: task }])
    }))

  it.effect("keep what belongs to the client's hop away from the server", () =>
    Effect.gen(function*() {
      const { ask, questions } = asked()
      const way = makeWay()
      const fiber = yield* ask("roots/list", undefined, way)
      const hop = { "io.modelcontextprotocol/protocolVersion": "2025-11-25", progressToken: 1 }
      questions.answer(idOf(way.said[0]), { result: { roots: [], _meta: { ...hop, "example.com/mine": 1 } } })
      assert.deepStrictEqual(yield* Fiber.join(fiber), { result: { roots: [], _meta: { "example.com/mine": 1 } } })
    }))

  it.effect("end when the client takes too long, and are withdrawn", () =>
    Effect.gen(function*() {
      const { ask, questions } = asked()
      const way = makeWay()
      const fiber = yield* ask("roots/list", undefined, way)
      yield* TestClock.adjust(59_999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(code(yield* Fiber.join(fiber)), -31000)
      const id = idOf(way.said[0])
      assert.deepStrictEqual(way.said[1]?.method, "notifications/cancelled")
      assert.strictEqual(way.said[1]?.params?.["requestId"], id)
      assert.strictEqual(questions.answer(id, { result: {} }), "late")
      assert.strictEqual(questions.pending(), 0)
    }))

  it.effect("are withdrawn when nobody waits any more, where the client can hear of it", () =>
    Effect.gen(function*() {
      const { ask, outlets, questions } = asked()
      const way = makeWay()
      const fiber = yield* ask("roots/list", undefined, way)
      way.state.open = false
      outlets.push(makeWay())
      yield* Fiber.interrupt(fiber)
      assert.lengthOf(way.said, 1)
      assert.strictEqual(outlets[0]?.said[0]?.params?.["requestId"], idOf(way.said[0]))
      assert.strictEqual(questions.pending(), 0)
    }))

  it.effect("wait for a stream of the client for a while", () =>
    Effect.gen(function*() {
      const { ask, outlets, questions } = asked()
      const lost = makeWay(false)
      const fiber = yield* ask("roots/list", undefined, lost)
      yield* TestClock.adjust(4_000)
      outlets.push(makeWay())
      questions.opened()
      questions.opened()
      assert.lengthOf(outlets[0]?.said ?? [], 1)
      yield* TestClock.adjust(2_000)
      assert.isUndefined(fiber.pollUnsafe())
      questions.answer(idOf(outlets[0]?.said[0]), { result: { roots: [] } })
      assert.deepStrictEqual(yield* Fiber.join(fiber), { result: { roots: [] } })

      const none = asked()
      const never = yield* none.ask("roots/list", undefined, lost)
      yield* TestClock.adjust(5_000)
      assert.strictEqual(code(yield* Fiber.join(never)), -31000)
      assert.deepStrictEqual([lost.said, none.questions.pending()], [[], 0])
    }))

  it.effect("are kept for a client that may come back, where no other stream is open", () =>
    Effect.gen(function*() {
      const { ask } = asked()
      const kept = { ...makeWay(false), keeps: () => true }
      yield* ask("roots/list", undefined, kept)
      assert.lengthOf(kept.said, 1)
    }))

  it.effect("are bounded, and end with their session", () =>
    Effect.gen(function*() {
      const { ask, questions } = asked()
      const way = makeWay()
      const fibers = yield* Effect.forEach([1, 2, 3], () => ask("roots/list", undefined, way))
      assert.strictEqual(code(yield* questions.ask("roots/list", undefined, way)), -31000)
      assert.lengthOf(way.said, 3)
      questions.close()
      assert.deepStrictEqual((yield* Effect.forEach(fibers, Fiber.join)).map(code), [-31000, -31000, -31000])
      assert.strictEqual(code(yield* questions.ask("roots/list", undefined, way)), -31000)
      assert.lengthOf(way.said, 3)
    }))
})
