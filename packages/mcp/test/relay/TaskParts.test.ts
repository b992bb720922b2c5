/**
 * The parts that tasks are made of, and what they do when something fails.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import type { Attempt } from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Deferred, Effect, Fiber, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { setImmediate } from "node:timers/promises"
import { Code, type Fields, type JsonRpcErrorObject, type Reply } from "../../src/JsonRpc.ts"
import type { Client, Exchange } from "../../src/relay/calls/Exchange.ts"
import * as Hearing from "../../src/relay/calls/Hearing.ts"
import * as Seal from "../../src/relay/Seal.ts"
import * as Callers from "../../src/relay/sessions/Callers.ts"
import * as KeptTasks from "../../src/relay/tasks/KeptTasks.ts"
import * as TaskCallers from "../../src/relay/tasks/TaskCallers.ts"
import * as TaskIds from "../../src/relay/tasks/TaskIds.ts"
import * as TaskOwners from "../../src/relay/tasks/TaskOwners.ts"
import * as TaskQuestions from "../../src/relay/tasks/TaskQuestions.ts"
import * as TaskResults from "../../src/relay/tasks/TaskResults.ts"
import * as TaskRounds from "../../src/relay/tasks/TaskRounds.ts"
import * as TaskServers from "../../src/relay/tasks/TaskServers.ts"
import * as TaskShape from "../../src/relay/tasks/TaskShape.ts"
import * as TaskWaits from "../../src/relay/tasks/TaskWaits.ts"
import {
  type CallerSession,
  type ServerRequest,
  type Upstream,
  UpstreamError,
  type UpstreamRequest
} from "../../src/upstream/Upstream.ts"
import { profile, scripted } from "../Catalogs.ts"
import { eventually } from "../upstream/Harness.ts"
import { envelope, harness, modern } from "./Harness.ts"
import { extension, question } from "./TaskFixtures.ts"

const clientOf = (more: Partial<Client> = {}): Client => {
  const capabilities = more.capabilities ?? { elicitation: {} }
  return {
    era: "stateless",
    protocolVersion: "2026-07-28",
    info: undefined,
    capabilities,
    principal: undefined,
    caller: Callers.make(more.principal, capabilities),
    ...more
  }
}

/** A client of the stateless era that looks at its task. */
const looking = (address = "here"): Exchange => ({
  client: clientOf(),
  streams: false,
  notify: () => {},
  logLevel: undefined,
  address: () => address
})

const record = ServiceInstance.make({
  id: "one",
  service: "svc",
  endpoint: { transport: "streamable-http", url: "http://one.invalid/mcp" }
})
const { upstream } = scripted(record, () => Effect.never)

const taskOf = (id: string): TaskServers.Task => ({
  id: `sealed ${id}`,
  server: { service: "svc", source: "scripted", instance: "one", id },
  upstream,
  profile
})

const state = (status: string, more: Fields = {}): Reply => ({
  result: { taskId: "t", status, createdAt: "then", lastUpdatedAt: "then", ttl: null, ...more }
})

/** What a server answers, by the methods. */
type Answers = Readonly<
  Record<
    string,
    (
      params: Fields,
      more: Pick<UpstreamRequest, "onNotification" | "onRequest" | "progress">
    ) => Effect.Effect<Reply, JsonRpcErrorObject>
  >
>

const serversOf = (answers: Answers): TaskServers.TaskServers & { readonly sent: Array<string> } => {
  const sent: Array<string> = []
  return {
    sent,
    find: () => Effect.die("not here"),
    send: (_, method, params, __, more) =>
      Effect.suspend(() => {
        sent.push(method)
        return answers[method]?.(params, more ?? {}) ?? Effect.die(method)
      })
  }
}

/** A request of a server, and what it was answered. */
const asked = (method = "elicitation/create", related?: string) => {
  const replies: Array<Reply> = []
  const withdrawn = new AbortController()
  const params = related === undefined ? question : TaskIds.relatedTo(question, related)
  const request: ServerRequest = {
    method,
    params,
    reply: (reply) => void replies.push(reply),
    withdrawn: withdrawn.signal
  }
  return { request, replies, withdraw: () => withdrawn.abort() }
}

describe("ids of tasks", () => {
  const ids = TaskIds.make(Seal.make(Redacted.make("a key")))
  const server = { service: "svc", source: "memory", instance: "one", id: "t-1" }

  it("lead back to the task, for the same principal, on every replica", () => {
    const replica = TaskIds.make(Seal.make(Redacted.make("a key")))
    const text = fc.string()
    const task = fc.record({ service: text, source: text, instance: text, id: text })
    fc.assert(fc.property(task, fc.option(text, { nil: undefined }), (server, principal) => {
      const sealed = ids.seal(server, principal) ?? ""
      assert.deepStrictEqual(replica.open(sealed, principal), server)
      assert.match(sealed, /^[\w-]+$/)
    }))
  })

  it("are worth nothing altered, to others, and without the key", () => {
    const sealed = ids.seal(server, "ann") ?? ""
    for (const principal of ["bob", "", undefined]) assert.isUndefined(ids.open(sealed, principal))
    for (let at = 0; at < sealed.length; at += 7) {
      const other = sealed[at] === "A" ? "B" : "A"
      assert.isUndefined(ids.open(sealed.slice(0, at) + other + sealed.slice(at + 1), "ann"))
    }
    assert.isUndefined(TaskIds.make(Seal.make(undefined)).open(sealed, "ann"))
    assert.isUndefined(ids.open("x".repeat(100_000), "ann"))
  })

  it("are none for an id that no header could hold", () => {
    assert.isUndefined(ids.seal({ ...server, id: "x".repeat(4_000) }, undefined))
  })

  it("are the ones and not the others in what belongs to a task", () => {
    const related = { a: 1, _meta: { b: 2, "io.modelcontextprotocol/related-task": { taskId: "own" } } }
    assert.strictEqual(TaskIds.relatedOf(related), "own")
    assert.deepStrictEqual(TaskIds.renamed(related, "own", "id"), TaskIds.relatedTo({ a: 1, _meta: { b: 2 } }, "id"))
    assert.strictEqual(TaskIds.renamed(related, "other", "id"), related)
    assert.deepStrictEqual(TaskIds.unrelated(related), { a: 1, _meta: { b: 2 } })
    assert.deepStrictEqual(TaskIds.unrelated(TaskIds.relatedTo({ a: 1 }, "t")), { a: 1 })
  })
})

describe("the forms of a task", () => {
  const old = { taskId: "t", status: "working", createdAt: "a", lastUpdatedAt: "b", ttl: 5, pollInterval: 6, more: 7 }
  const fresh = {
    taskId: "t",
    status: "working",
    createdAt: "a",
    lastUpdatedAt: "b",
    ttlMs: 5,
    pollIntervalMs: 6,
    more: 7
  }

  it("turn into each other", () => {
    assert.deepStrictEqual(TaskShape.toStateless(old, "id"), { ...fresh, taskId: "id" })
    assert.deepStrictEqual(TaskShape.toHandshake({ ...fresh, resultType: "task", _meta: {} }, "id"), {
      ...old,
      taskId: "id"
    })
    assert.deepInclude(TaskShape.toHandshake({ taskId: "t" }, "id"), { ttl: null })
  })

  it("call a failed call failed, or completed", () => {
    const failed = { content: [], isError: true }
    assert.include(TaskShape.toHandshake({ ...fresh, status: "completed", result: failed }, "id"), { status: "failed" })
    assert.include(TaskShape.concluded({ ...fresh, status: "failed" }, { result: failed }), { status: "completed" })
    const error = { code: 1, message: "broke" }
    assert.deepInclude(TaskShape.concluded({ ...fresh, status: "completed" }, { error }), { status: "failed", error })
  })
})

describe("tasks that the gateway keeps", () => {
  it("are there for their time", () => {
    let now = 0
    const kept = KeptTasks.make(() => now)
    const one = { task: {}, reply: { result: {} } }
    kept.keep("a", one, 100)
    now = 99
    assert.strictEqual(kept.find("a"), one)
    now = 100
    assert.isUndefined(kept.find("a"))
  })

  it("make room, the oldest first", () => {
    const kept = KeptTasks.make(() => 0)
    const one = { task: {}, reply: { result: {} } }
    for (let i = 0; i <= 1_000; i++) kept.keep(String(i), one, 100)
    assert.isUndefined(kept.find("0"))
    assert.strictEqual(kept.find("1"), one)
    // Neither do a few big ones hold more than is allowed.
    const big = { task: {}, reply: { result: { text: "x".repeat(10 * 1_048_576) } } }
    for (const id of ["a", "b", "c", "d"]) kept.keep(id, big, 100)
    assert.deepStrictEqual(["a", "b", "c", "d"].map((id) => kept.find(id) === big), [false, true, true, true])
    assert.isUndefined(kept.find("1000"))
  })

  it("owners are known by what servers call their tasks", () => {
    const owners = TaskOwners.make()
    const [ann, bob] = [clientOf(), clientOf()]
    const key = Catalog.key("memory", "one")
    owners.note(ann, "a1", key, "1")
    owners.note(ann, "a2", undefined, "a2")
    owners.note(bob, "b2", key, "2")
    assert.deepStrictEqual([owners.of(ann), owners.of(bob)], [["a1", "a2"], ["b2"]])
    // A cancelled one is kept by the gateway, too.
    owners.note(ann, "a1", undefined, "a1")
    assert.deepStrictEqual(owners.of(ann), ["a1", "a2"])
    assert.strictEqual(owners.find(key, "2")?.client, bob)
    assert.isUndefined(owners.find(Catalog.key("memory", "two"), "2"))
    for (let i = 0; i < 10_000; i++) owners.note(bob, String(i), key, `more ${i}`)
    assert.deepStrictEqual(owners.of(ann), [])
  })
})

describe("callers of tasks", () => {
  const make = Effect.gen(function*() {
    const forgotten: Array<CallerSession> = []
    const callers = yield* TaskCallers.make({ forget: (session) => void forgotten.push(session) }, {
      onRequest: () => {},
      onNotification: () => {}
    })
    return { callers, forgotten }
  })

  it.effect("share a session of their own where they are the same to a server", () =>
    Effect.gen(function*() {
      const { callers } = yield* make
      const nobody = clientOf({ capabilities: {} })
      assert.strictEqual(callers.of(nobody), nobody.caller)
      const session: CallerSession = { onRequest: () => {}, onNotification: () => {} }
      const own = clientOf({ caller: Callers.make(undefined, { elicitation: {} }, session) })
      assert.strictEqual(callers.of(own), own.caller)
      const ann = callers.of(clientOf({ principal: "ann" }))
      assert.isDefined(ann.session)
      assert.deepInclude(ann, { principal: "ann", capabilities: { elicitation: {} } })
      assert.strictEqual(callers.of(clientOf({ principal: "ann" })), ann)
      assert.notStrictEqual(callers.of(clientOf({ principal: "bob" })).session, ann.session)
      const sampling = callers.of(clientOf({ principal: "ann", capabilities: { sampling: {} } }))
      assert.notStrictEqual(sampling.session, ann.session)
    }))

  it.effect("are for one task those that it was begun for", () =>
    Effect.gen(function*() {
      const { callers } = yield* make
      const client = clientOf({ capabilities: { elicitation: {}, extensions: {} } })
      const begun = callers.of(client)
      callers.begun(client, "a", 60_000)
      const later = clientOf({ capabilities: { extensions: {} } })
      assert.strictEqual(callers.of(later, "a"), begun)
      callers.seen(later, "a")
      assert.strictEqual(callers.of(later, "a"), begun)
      assert.notStrictEqual(callers.of(later, "b"), begun)
      assert.notStrictEqual(callers.of(later), begun)
    }))

  it.effect("forget the task that was looked at longest ago where there are too many", () =>
    Effect.gen(function*() {
      const { callers, forgotten } = yield* make
      const [ann, bob] = [clientOf({ principal: "ann" }), clientOf({ principal: "bob" })]
      const { session } = callers.of(ann)
      for (const id of ["a", "b"]) callers.begun(ann, id, 24 * 3_600_000)
      for (let i = 0; i < 9_999; i++) callers.begun(bob, String(i), 24 * 3_600_000)
      callers.seen(ann, "b")
      callers.begun(bob, "more", 24 * 3_600_000)
      yield* TestClock.adjust("1 hour")
      assert.isEmpty(forgotten)
      for (let i = 0; i < 10_000; i++) callers.begun(bob, String(i), 24 * 3_600_000)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(forgotten, [session])
    }))

  it.effect("keep their session while they have tasks", () =>
    Effect.gen(function*() {
      const { callers, forgotten } = yield* make
      const client = clientOf({ principal: "ann" })
      const { session } = callers.of(client)
      callers.begun(client, "a", 3_600_000)
      yield* TestClock.adjust("59 minutes")
      assert.isEmpty(forgotten)
      // Looked at, it is kept for longer.
      callers.seen(client, "a")
      yield* TestClock.adjust("9 minutes")
      assert.isEmpty(forgotten)
      assert.strictEqual(callers.of(client).session, session)
      yield* TestClock.adjust("11 minutes")
      assert.deepStrictEqual(forgotten, [session])
      assert.notStrictEqual(callers.of(client).session, session)
    }))
})

describe("questions of servers of the handshake era to clients of the stateless era", () => {
  const settings = { inputTimeout: 60_000, maxParked: 1_000, maxParkedPerClient: 64 }

  it.effect("end when nobody answers them, and come again with the task", () =>
    Effect.gen(function*() {
      const { replies, request } = asked()
      const servers = serversOf({
        "tasks/get": () => Effect.succeed(state("input_required")),
        "tasks/result": (_, { onRequest }) => {
          onRequest?.(request)
          return Effect.never
        }
      })
      const questions = yield* TaskQuestions.make(servers, settings)
      const get = questions.get(taskOf("t"), {}, looking())
      const keys = (task: Fields) => Object.keys(Object(task["inputRequests"]))
      const [first] = keys(yield* get)
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(keys(yield* get), [first])
      assert.isEmpty(replies)
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(replies, [{ error: { code: Code.unavailable, message: "The client gave no answer" } }])
      // Keys are never used twice.
      const [second] = keys(yield* get)
      assert.notStrictEqual(second, first)
      assert.lengthOf(servers.sent.filter((method) => method === "tasks/result"), 2)
    }))

  it.effect("are refused that the client did not declare, that it can't get, and that are for another task", () =>
    Effect.gen(function*() {
      const all = [asked("sampling/createMessage"), asked("tasks/get"), asked("elicitation/create", "other")]
      const questions = yield* TaskQuestions.make(
        serversOf({
          "tasks/get": () => Effect.succeed(state("input_required")),
          "tasks/result": (_, { onRequest }) => {
            for (const { request } of all) onRequest?.(request)
            return Effect.never
          }
        }),
        settings
      )
      const looks = yield* Effect.forkChild(questions.get(taskOf("t"), {}, looking()), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      // Nothing is to be answered: the client goes on waiting.
      assert.deepInclude(yield* Fiber.join(looks), { status: "working" })
      for (const { replies: [reply] } of all) {
        assert.nestedPropertyVal(reply, "error.code", Code.methodNotFound)
      }
    }))

  it.effect("that come outside of any request find their task", () =>
    Effect.gen(function*() {
      const servers = serversOf({
        "tasks/get": () => Effect.succeed(state("input_required")),
        "tasks/result": () => Effect.never
      })
      const questions = yield* TaskQuestions.make(servers, settings)
      const looks = yield* Effect.forkChild(questions.get(taskOf("t"), {}, looking()), { startImmediately: true })
      const nobodys = asked("elicitation/create", "unknown")
      const unnamed = asked()
      for (const { request } of [nobodys, unnamed]) questions.asked(upstream, request)
      for (const { replies } of [nobodys, unnamed]) assert.lengthOf(replies, 1)
      const elsewhere: Upstream = { ...upstream }
      const others = asked("elicitation/create", "t")
      questions.asked(elsewhere, others.request)
      assert.lengthOf(others.replies, 1)
      const own = asked("elicitation/create", "t")
      questions.asked(upstream, own.request)
      const task = yield* Fiber.join(looks)
      const [key] = Object.keys(Object(task["inputRequests"]))
      assert.deepNestedInclude(task, { status: "input_required", [`inputRequests.${key}.params`]: question })
      // The server wants it no more.
      own.withdraw()
      yield* questions.update(taskOf("t"), { inputResponses: { [key ?? ""]: { action: "accept" } } }, clientOf())
      assert.isEmpty(own.replies)
    }))

  it.effect("are those of the other era, and so are the answers", () =>
    Effect.gen(function*() {
      const url = { mode: "url", message: "Go", url: "https://there.invalid" }
      const { replies, request } = asked()
      const servers = serversOf({
        "tasks/get": () => Effect.succeed(state("input_required")),
        "tasks/result": (_, { onRequest }) => {
          onRequest?.({ ...request, params: { ...url, elicitationId: "e-1" } })
          return Effect.never
        }
      })
      const questions = yield* TaskQuestions.make(servers, settings)
      const client = clientOf({ capabilities: { elicitation: { url: {} } } })
      const task = yield* questions.get(taskOf("t"), {}, { ...looking(), client })
      const [[key, given] = []] = Object.entries(Object(task["inputRequests"]))
      assert.deepStrictEqual(given, { method: "elicitation/create", params: url })
      const _meta = { "io.modelcontextprotocol/clientInfo": { name: "secret" }, mine: 1 }
      yield* questions.update(taskOf("t"), { inputResponses: { [key ?? ""]: { action: "accept", _meta } } }, client)
      assert.deepStrictEqual(replies, [
        { result: TaskIds.relatedTo({ action: "accept", _meta: { mine: 1 } }, "t") }
      ])
    }))

  it.effect("wait for so many tasks at most", () =>
    Effect.gen(function*() {
      const servers = serversOf({
        "tasks/get": () => Effect.succeed(state("input_required")),
        "tasks/result": (_, { onRequest }) => {
          onRequest?.(asked().request)
          return Effect.never
        }
      })
      const questions = yield* TaskQuestions.make(servers, { ...settings, maxParked: 3, maxParkedPerClient: 2 })
      const get = (id: string, address: string) => questions.get(taskOf(id), {}, looking(address))
      for (const id of ["a", "b"]) assert.include(yield* get(id, "here"), { status: "input_required" })
      assert.include((yield* Effect.flip(get("c", "here"))).message, "the answers of this client")
      assert.include(yield* get("c", "there"), { status: "input_required" })
      assert.include((yield* Effect.flip(get("d", "there"))).message, "the answers of clients")
      assert.include(yield* get("a", "here"), { status: "input_required" })
    }))

  it.effect("end when their task is cancelled", () =>
    Effect.gen(function*() {
      const { replies, request } = asked()
      const servers = serversOf({
        "tasks/get": () => Effect.succeed(state("input_required")),
        "tasks/cancel": () => Effect.succeed({ result: {} }),
        "tasks/result": (_, { onRequest }) => {
          onRequest?.(request)
          return Effect.never
        }
      })
      const questions = yield* TaskQuestions.make(servers, settings)
      yield* questions.get(taskOf("t"), {}, looking())
      yield* questions.cancel(taskOf("t"), {}, clientOf())
      assert.lengthOf(replies, 1)
    }))

  it.effect("end with the gateway", () =>
    Effect.gen(function*() {
      const { replies, request } = asked()
      yield* Effect.scoped(Effect.gen(function*() {
        const questions = yield* TaskQuestions.make(
          serversOf({
            "tasks/get": () => Effect.succeed(state("input_required")),
            "tasks/result": (_, { onRequest }) => {
              onRequest?.(request)
              return Effect.never
            }
          }),
          settings
        )
        yield* questions.get(taskOf("t"), {}, looking())
      }))
      assert.lengthOf(replies, 1)
    }))

  it.effect("don't hold up a task whose server can't be asked while it waits", () =>
    Effect.gen(function*() {
      let looks = 0
      const servers = serversOf({
        // One call at a time: the second look waits for the result.
        "tasks/get": () => looks++ === 0 ? Effect.succeed(state("input_required")) : Effect.never,
        "tasks/result": (_, { onRequest }) => {
          onRequest?.(first.request)
          return Effect.never
        }
      })
      const first = asked()
      const questions = yield* TaskQuestions.make(servers, settings)
      const task = yield* questions.get(taskOf("t"), {}, looking())
      const [key] = Object.keys(Object(task["inputRequests"]))
      yield* questions.update(taskOf("t"), { inputResponses: { [key ?? ""]: { action: "decline" } } }, clientOf())
      assert.deepNestedInclude(first.replies[0], { "result.action": "decline" })
      const again = yield* Effect.forkChild(questions.get(taskOf("t"), {}, looking()), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.include(yield* Fiber.join(again), { status: "working" })
    }))
})

describe("rounds of tasks of servers of the stateless era", () => {
  const inputs = { inputRequests: { who: { method: "elicitation/create", params: question } } }
  const exchangeOf = (ask: Exchange["ask"]): Exchange => ({
    client: clientOf({ era: "handshake", protocolVersion: "2025-11-25" }),
    streams: true,
    notify: () => {},
    ask,
    logLevel: undefined
  })

  it.effect("ask each question once, whoever waits for the result", () =>
    Effect.gen(function*() {
      const answer = yield* Deferred.make<Reply>()
      let status = "input_required"
      let asks = 0
      const servers = serversOf({
        "tasks/get": () => Effect.sync(() => state(status, status === "completed" ? { result: {} } : inputs)),
        "tasks/update": (params) => {
          assert.deepStrictEqual(params, { inputResponses: { who: { action: "accept", _meta: { a: 1 } } } })
          status = "completed"
          return Effect.succeed({ result: {} })
        }
      })
      const rounds = TaskRounds.make(servers)
      const exchange = exchangeOf(() => {
        asks++
        return Deferred.await(answer)
      })
      const both = yield* Effect.forEach([1, 2], () =>
        Effect.forkChild(rounds.conclude(taskOf("t"), {}, exchange), { startImmediately: true }))
      yield* TestClock.adjust("5 seconds")
      yield* Deferred.succeed(answer, { result: TaskIds.relatedTo({ action: "accept", _meta: { a: 1 } }, "sealed t") })
      yield* TestClock.adjust("1 seconds")
      for (const fiber of both) {
        assert.include(yield* Fiber.join(fiber), { status: "completed" })
      }
      assert.strictEqual(asks, 1)
    }))

  it.effect("don't wait long for a task that its server is to cancel", () =>
    Effect.gen(function*() {
      const servers = serversOf({
        "tasks/get": () => Effect.succeed(state("working")),
        "tasks/cancel": () => Effect.succeed({ result: {} })
      })
      const cancels = yield* Effect.forkChild(
        TaskRounds.make(servers).cancel(taskOf("t"), {}, exchangeOf(undefined)),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      assert.include(yield* Fiber.join(cancels), { status: "working" })
      assert.deepStrictEqual(servers.sent, ["tasks/cancel", ...Array.from({ length: 5 }, () => "tasks/get")])
    }))

  it.effect("ask for one task, whatever another one is asked for", () =>
    Effect.gen(function*() {
      const servers = serversOf({ "tasks/get": () => Effect.succeed(state("input_required", inputs)) })
      const rounds = TaskRounds.make(servers)
      let asks = 0
      const exchange = exchangeOf(() => {
        asks++
        return Effect.never
      })
      for (const id of ["s", "t", "t"]) {
        yield* Effect.forkChild(rounds.conclude(taskOf(id), {}, exchange), { startImmediately: true })
      }
      assert.strictEqual(asks, 2)
    }))

  it.effect("name the places that clients are sent to", () =>
    Effect.gen(function*() {
      let status = "input_required"
      const url = { mode: "url", message: "Go", url: "https://there.invalid" }
      const asks = { inputRequests: { go: { method: "elicitation/create", params: url } } }
      const servers = serversOf({
        "tasks/get": () => Effect.sync(() => state(status, status === "completed" ? { result: {} } : asks)),
        "tasks/update": ({ inputResponses }) => {
          assert.deepStrictEqual(inputResponses, { go: { action: "accept" } })
          status = "completed"
          return Effect.succeed({ result: {} })
        }
      })
      const asked: Array<Fields | undefined> = []
      const exchange = exchangeOf((_, params) => {
        asked.push(params)
        return Effect.succeed({ result: { action: "accept" } })
      })
      const ends = yield* Effect.forkChild(TaskRounds.make(servers).conclude(taskOf("t"), {}, exchange), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 second")
      assert.include(yield* Fiber.join(ends), { status: "completed" })
      assert.deepInclude(asked[0], url)
      assert.isString(asked[0]?.["elicitationId"])
    }))

  it.effect("go on when the server can be reached again, and not for ever when it can't", () =>
    Effect.gen(function*() {
      const away: JsonRpcErrorObject = { code: Code.unavailable, message: "away" }
      let left = 3
      const servers = serversOf({
        "tasks/get": () =>
          Effect.suspend(() => left-- > 0 ? Effect.fail(away) : Effect.succeed(state("completed", { result: {} })))
      })
      const rounds = TaskRounds.make(servers)
      const conclude = Effect.gen(function*() {
        const ends = yield* Effect.forkChild(
          Effect.result(rounds.conclude(taskOf("t"), {}, exchangeOf(undefined))),
          { startImmediately: true }
        )
        yield* TestClock.adjust("10 seconds")
        return yield* Fiber.join(ends)
      })
      assert.deepNestedInclude(yield* conclude, { "success.status": "completed" })
      left = Infinity
      assert.deepNestedInclude(yield* conclude, { failure: away })
      // What the server itself says is final.
      const unknown = serversOf({ "tasks/get": () => Effect.succeed({ error: { code: -32602, message: "unknown" } }) })
      const gone = yield* Effect.flip(TaskRounds.make(unknown).conclude(taskOf("t"), {}, exchangeOf(undefined)))
      assert.strictEqual(gone.message, "unknown")
      assert.lengthOf(unknown.sent, 1)
    }))

  it.effect("fail with what the client says, and ask again when it comes back", () =>
    Effect.gen(function*() {
      const servers = serversOf({ "tasks/get": () => Effect.succeed(state("input_required", inputs)) })
      const rounds = TaskRounds.make(servers)
      let asks = 0
      const exchange = exchangeOf(() => {
        asks++
        return Effect.succeed({ error: { code: -1, message: "no" } })
      })
      for (const times of [1, 2]) {
        const error = yield* Effect.flip(rounds.conclude(taskOf("t"), {}, exchange))
        assert.deepStrictEqual(error.data, {
          reason: "inputRefused",
          method: "elicitation/create",
          error: { code: -1, message: "no" }
        })
        assert.strictEqual(asks, times)
      }
      const nobody = yield* Effect.flip(rounds.conclude(taskOf("t"), {}, exchangeOf(undefined)))
      assert.include(nobody.message, "this client can't be asked")
    }))

  it("tell servers of the extension, and not of what clients say of tasks of their own", () => {
    assert.deepStrictEqual(TaskRounds.capabilities({ roots: {}, tasks: { list: {} }, extensions: { a: {} } }), {
      roots: {},
      extensions: { a: {}, [extension]: {} }
    })
  })
})

describe("calls that wait for tasks", () => {
  const declare = { extensions: { [extension]: {} } }
  const missing = {
    error: { code: Code.missingClientCapability, message: "", data: { requiredCapabilities: declare } }
  }
  const begin = Effect.fnUntraced(function*(conclude: TaskRounds.TaskRounds["conclude"]) {
    const happened: Array<string> = []
    const note = (what: string) => () => void happened.push(what)
    const { upstream: server } = scripted(record, ({ capabilities }) => {
      assert.deepStrictEqual(capabilities, { elicitation: {}, ...declare })
      return Effect.succeed({ result: { resultType: "task", taskId: "t" } })
    }, { ...profile, era: "stateless", protocolVersion: "2026-07-28" })
    const rounds: TaskRounds.TaskRounds = {
      ...TaskRounds.make(serversOf({})),
      conclude,
      giveUp: ({ server }) => Effect.sync(note(`give up ${server.id}`))
    }
    const attempt: Attempt = {
      number: 1,
      key: server.key,
      deadline: () => Infinity,
      isHeard: () => true,
      extend: note("extend"),
      pause: () => {
        happened.push("pause")
        return note("resume")
      },
      commit: note("commit"),
      sent: () => {}
    }
    const hearing = Hearing.make({
      client: clientOf({ era: "handshake", capabilities: { elicitation: {} } }),
      streams: true,
      notify: ({ params }) => void happened.push(JSON.stringify(params)),
      ask: () => Effect.sync(() => ({ result: { action: happened.push("asked") } })),
      logLevel: undefined
    }, { progressToken: 7 })
    const waits = yield* TaskWaits.make(serversOf({}), rounds)
    return {
      happened,
      waits: (reply: Reply) => waits(reply, { method: "tools/call" }, { upstream: server, attempt, hearing })
    }
  })

  it.effect("stop the clock of their attempt while their client is asked, and tell it that they go on", () =>
    Effect.gen(function*() {
      const { happened, waits } = yield* begin((task, _, { ask }, heard) =>
        Effect.gen(function*() {
          assert.deepInclude(task.server, { service: "svc", source: "scripted", instance: "one", id: "t" })
          heard?.({ status: "working", statusMessage: "half" })
          heard?.({ status: "input_required" })
          yield* ask?.("elicitation/create", {}) ?? Effect.die("nobody to ask")
          return { status: "completed", result: { content: [] } }
        })
      )
      assert.deepStrictEqual(yield* waits(missing) ?? Effect.die("not again"), { result: { content: [] } })
      assert.deepStrictEqual(happened, [
        "commit",
        JSON.stringify({ progressToken: 7, progress: 1, message: "half" }),
        JSON.stringify({ progressToken: 7, progress: 2 }),
        "pause",
        "asked",
        "resume"
      ])
    }))

  it.effect("live while their task does, and give it up with themselves", () =>
    Effect.gen(function*() {
      const { happened, waits } = yield* begin(() => Effect.never)
      const call = yield* Effect.forkChild(waits(missing) ?? Effect.die("not again"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(call)
      assert.deepStrictEqual(happened, ["commit", "extend", "extend", "give up t"])
    }))

  it.effect("are none where the server doesn't ask for the extension", () =>
    Effect.gen(function*() {
      const { waits } = yield* begin(() => Effect.never)
      const elicitation = { code: Code.missingClientCapability, message: "", data: { requiredCapabilities: {} } }
      for (
        const reply of [
          { result: {} },
          { error: { code: Code.internalError, message: "", data: missing.error.data } },
          { error: elicitation },
          { error: { code: Code.missingClientCapability, message: "" } }
        ]
      ) assert.isUndefined(waits(reply))
    }))
})

describe("servers of tasks", () => {
  const ids = TaskIds.make(Seal.make(undefined))
  const none = TaskCallers.make({ forget: () => {} }, { onRequest: () => {}, onNotification: () => {} })
  const find = Effect.fnUntraced(function*(there: Upstream, server: TaskIds.ServerTask) {
    const upstreams = { get: (key: Catalog.InstanceKey) => key === there.key ? there : undefined, all: () => [there] }
    const servers = TaskServers.make(upstreams, ids, yield* none, { timeout: undefined })
    return yield* servers.find("tasks/get", { taskId: ids.seal(server, undefined) }, clientOf())
  })
  const server = { service: "svc", source: "scripted", instance: "one", id: "t" }

  it.effect("are found where another registry announces them by now, and no other in their place", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* find(upstream, server), { upstream, server })
      const moved = { ...server, source: "gone" }
      assert.deepInclude(yield* find(upstream, moved), { upstream, server: moved })
      // The gateway's own, which it keeps no more.
      const own = { service: "", source: "", instance: "", id: "t" }
      assert.strictEqual(yield* Effect.flip(find(upstream, own)), TaskServers.notFound)
      for (const other of [{ ...moved, service: "other" }, { ...moved, instance: "two" }]) {
        assert.include((yield* Effect.flip(find(upstream, other))).message, "it is not announced any more")
      }
    }))

  it.effect("are connected first where they are not", () =>
    Effect.gen(function*() {
      const down: Upstream = {
        ...upstream,
        state: () => ({ _tag: "connecting", since: 0, lastError: undefined, profile: undefined })
      }
      assert.deepInclude(yield* find(down, server), { profile })
      const reason = "connection refused"
      const dead = { ...down, connect: new UpstreamError({ instance: "one", phase: "notSent", reason }) }
      assert.deepInclude(yield* Effect.flip(find(dead, server)), {
        code: Code.unavailable,
        message: "tasks/get: connection refused (instance one, which runs the task)"
      })
    }))
})

describe("results of tasks of servers of the handshake era", () => {
  it.effect("come with what the server says meanwhile", () =>
    Effect.gen(function*() {
      const own = TaskIds.relatedTo({ level: "info", data: "a" }, "t")
      const servers = serversOf({
        "tasks/result": (_, { onNotification, progress }) => {
          assert.isTrue(progress)
          for (
            const [method, params] of [
              ["notifications/message", own],
              ["notifications/message", { level: "debug", data: "b" }],
              ["notifications/progress", { progressToken: 77, progress: 1 }],
              ["notifications/other", {}]
            ] as const
          ) onNotification?.({ jsonrpc: "2.0", method, params })
          return Effect.succeed({ result: { content: [] } })
        }
      })
      const told: Array<unknown> = []
      const results = TaskResults.make(servers, TaskRounds.make(servers), { passes: (_, level) => level === "info" })
      const result = yield* results(taskOf("t"), { _meta: { progressToken: "mine" } }, {
        client: clientOf({ era: "handshake" }),
        streams: true,
        notify: ({ method, params }) => void told.push([method, params]),
        logLevel: "info"
      })
      assert.deepStrictEqual(result, TaskIds.relatedTo({ content: [] }, "sealed t"))
      assert.deepStrictEqual(told, [
        ["notifications/message", TaskIds.relatedTo({ level: "info", data: "a" }, "sealed t")],
        ["notifications/progress", { progressToken: "mine", progress: 1 }]
      ])
    }))

  it.effect("take back a question that the server withdraws", () =>
    Effect.gen(function*() {
      const { replies, request, withdraw } = asked()
      let interrupted = 0
      const servers = serversOf({
        "tasks/result": (_, { onRequest }) => {
          onRequest?.(request)
          return Effect.as(Effect.sleep("1 second"), { result: {} })
        }
      })
      const results = TaskResults.make(servers, TaskRounds.make(servers), { passes: () => false })
      const waits = yield* Effect.forkChild(
        results(taskOf("t"), {}, {
          client: clientOf({ era: "handshake" }),
          streams: true,
          notify: () => {},
          ask: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)),
          logLevel: undefined
        }),
        { startImmediately: true }
      )
      withdraw()
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(waits)
      assert.deepStrictEqual([interrupted, replies], [1, []])
    }))
})

describe("tasks whose servers fail", () => {
  const declaring = { "io.modelcontextprotocol/clientCapabilities": { extensions: { [extension]: {} } } }
  const created: Reply = { result: { resultType: "task", taskId: "t-1", status: "working", ttlMs: null } }
  const begin = Effect.fnUntraced(function*(answer: (request: UpstreamRequest) => Effect.Effect<Reply>) {
    const endpoint = yield* harness({
      servers: [{ id: "a", era: "stateless", capabilities: { extensions: { [extension]: {} } }, answer }],
      offers: [{ name: "run" }]
    })
    const call = (method: string, params: Fields, headers = {}) =>
      Effect.map(
        endpoint.post(
          { jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: envelope(declaring) } },
          { ...modern(method, String(params["taskId"] ?? params["name"])), ...headers }
        ),
        ({ messages }) => messages[0] ?? assert.fail("no answer")
      )
    return { ...endpoint, call }
  })

  it.effect("say so", () =>
    Effect.gen(function*() {
      const { call, removeUpstream } = yield* begin(({ method }) =>
        method === "tools/call" ? Effect.succeed(created) : Effect.never
      )
      const taskId = (yield* call("tools/call", { name: "svc__run" })).result?.["taskId"]
      const looks = yield* Effect.forkChild(call("tasks/get", { taskId }), { startImmediately: true })
      const reply = yield* Fiber.join(looks).pipe(
        Effect.raceFirst(Effect.forever(Effect.andThen(TestClock.adjust("10 seconds"), Effect.yieldNow)))
      )
      assert.deepInclude(reply.error, { code: Code.unavailable, data: { reason: "unavailable", instance: "a" } })
      assert.include(reply.error?.message, "no answer within 60000 ms (instance a")
      removeUpstream("a")
      const gone = yield* call("tasks/get", { taskId })
      assert.include(gone.error?.message, "it is not announced any more (instance a, which runs the task)")
    }))

  it.effect("are cancelled for clients of version 2025-11-25 whatever their server does", () =>
    Effect.gen(function*() {
      const endpoint = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          capabilities: { extensions: { [extension]: {} } },
          answer: ({ method }) => Effect.succeed(method === "tools/call" ? created : state("working"))
        }],
        offers: [{ name: "run", definition: { execution: { taskSupport: "optional" } } }]
      })
      const { headers } = yield* endpoint.initialize()
      const request = Effect.fnUntraced(function*(method: string, params: Fields = {}) {
        const asks = yield* Effect.forkChild(
          endpoint.post({ jsonrpc: "2.0", id: 1, method, params }, headers),
          { startImmediately: true }
        )
        const { messages } = yield* Fiber.join(asks).pipe(
          Effect.raceFirst(Effect.forever(Effect.andThen(TestClock.adjust(100), Effect.promise(() => setImmediate()))))
        )
        return messages[0] ?? assert.fail("no answer")
      })
      const { result: begun } = yield* request("tools/call", { name: "svc__run", task: {} })
      const taskId = Object(begun?.["task"])["taskId"]
      assert.include((yield* request("tasks/cancel", { taskId })).result, { taskId, status: "cancelled" })
      assert.include((yield* request("tasks/get", { taskId })).result, { taskId, status: "cancelled" })
      assert.include((yield* request("tasks/result", { taskId })).error?.message, "The task was cancelled")
      assert.include((yield* request("tasks/cancel", { taskId })).error?.message, "already in terminal status")
      assert.lengthOf(Object((yield* request("tasks/list")).result)["tasks"], 1)
    }))

  it.effect("hold up the calls that wait for them for so long at most", () =>
    Effect.gen(function*() {
      const data = { requiredCapabilities: { extensions: { [extension]: {} } } }
      const endpoint = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          capabilities: { extensions: { [extension]: {} } },
          answer: ({ capabilities, method }) =>
            Effect.succeed(
              method === "tools/call" && capabilities === undefined
                ? { error: { code: Code.missingClientCapability, message: "a task only", data } }
                : method === "tools/call"
                ? created
                : { result: { taskId: "t-1", status: "working", pollIntervalMs: 30_000 } }
            )
        }],
        offers: [{ name: "run", definition: { execution: { taskSupport: "optional" } } }]
      })
      const { headers } = yield* endpoint.initialize()
      let answered = false
      const call = yield* endpoint.post(
        { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "svc__run" } },
        headers
      ).pipe(Effect.tap(() => Effect.sync(() => answered = true)), Effect.forkChild({ startImmediately: true }))
      const asks = (method: string) => endpoint.asked.filter(({ request }) => request.method === method).length
      yield* eventually("a look", () => asks("tasks/get") > 0 || undefined)
      for (let i = 0; i < 1_190; i++) yield* TestClock.adjust(500)
      assert.deepStrictEqual([answered, asks("tools/call"), asks("tasks/cancel")], [false, 2, 0])
      yield* TestClock.adjust("10 seconds")
      const { messages: [reply] } = yield* Fiber.join(call)
      assert.include(reply?.error?.message, "no answer within")
      assert.deepStrictEqual([asks("tools/call"), asks("tasks/cancel")], [2, 1])
    }))

  it.effect("are not made of ids that are none", () =>
    Effect.gen(function*() {
      const answers = [{ resultType: "task" }, { resultType: "task", taskId: 7 }, { resultType: "task", taskId: "" }]
      const { call } = yield* begin(() => Effect.succeed({ result: answers.shift() ?? {} }))
      for (let i = 0; i < 3; i++) {
        const { error } = yield* call("tools/call", { name: "svc__run" })
        assert.include(error?.message, "a task that has no usable id")
      }
    }))

  it.effect("are named by the header as by the body", () =>
    Effect.gen(function*() {
      const { asked, call } = yield* begin(({ method }) =>
        Effect.succeed(method === "tools/call" ? created : { result: { taskId: "t-1", status: "working" } })
      )
      const taskId = (yield* call("tools/call", { name: "svc__run" })).result?.["taskId"]
      const wrong = yield* call("tasks/get", { taskId }, { "mcp-name": "other" })
      assert.strictEqual(wrong.error?.code, Code.headerMismatch)
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      assert.deepInclude((yield* call("tasks/get", { taskId }, { traceparent })).result, { taskId })
      assert.deepNestedInclude(asked.at(-1)?.request.params, { "_meta.traceparent": traceparent })
      assert.deepInclude(asked.at(-1)?.request.headers, { traceparent })
      assert.deepInclude(asked.at(-1)?.request.params, { taskId: "t-1" })
    }))
})
