/**
 * What scripted servers offer only to clients that can be asked.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { ToolCatalog } from "../src/catalog/ToolCatalog.ts"
import type { Fields, Reply } from "../src/JsonRpc.ts"
import { type Caller, type Upstream, UpstreamError, type UpstreamRequest } from "../src/upstream/Upstream.ts"
import { harness, instance, names, profile, scripted } from "./Catalogs.ts"

type Service = ToolCatalog["Service"]

const caller = (capabilities: Fields): Caller => ({ principal: undefined, capabilities, session: undefined })
const sampler = caller({ sampling: {} })
const elicitor = caller({ elicitation: { form: {} } })
const nobody = caller({})

/** A server that lists tools by what is declared to it. */
const asking = (
  id: string,
  tools: (declared: Fields) => ReadonlyArray<string>,
  given: typeof profile = { ...profile, capabilities: { tools: {} } }
) => {
  const declared: Array<Fields> = []
  const before: { run: (request: UpstreamRequest) => Effect.Effect<void, UpstreamError> } = { run: () => Effect.void }
  const { upstream } = scripted(
    instance(id, id),
    (request) => {
      const { capabilities = {} } = request.caller ?? {}
      declared.push(capabilities)
      return Effect.succeed<Reply>({
        result: { tools: tools(capabilities).map((name) => ({ name, inputSchema: { type: "object" } })) }
      })
    },
    given
  )
  return {
    declared,
    before,
    /** How often it was asked with something declared. */
    second: () => declared.filter((each) => Object.keys(each).length > 0).length,
    upstream: {
      ...upstream,
      request: (request: UpstreamRequest) =>
        Effect.andThen(Effect.suspend(() => before.run(request)), upstream.request(request))
    } satisfies Upstream
  }
}

const everything = (id: string) =>
  asking(id, ({ elicitation, sampling }) => [
    "echo",
    ...(sampling === undefined ? [] : ["sample"]),
    ...(elicitation === undefined ? [] : ["ask"])
  ])

const seenBy = (catalog: Service, who: Caller) =>
  (catalog.audiences.of(who) ?? catalog).list("tools").map(({ publicName }) => publicName)

/** What a caller sees when it lists, and after how many ms. */
const listed = (catalog: Service, who: Caller, most = 100) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(catalog.audiences.settled(who), { startImmediately: true })
    let waited = 0
    for (; waited < most && fiber.pollUnsafe() === undefined; waited += 10) yield* TestClock.adjust(10)
    yield* Fiber.join(fiber)
    return { tools: seenBy(catalog, who), waited }
  })

const notice = (upstream: Upstream) => ({
  _tag: "Notified" as const,
  upstream,
  notification: { jsonrpc: "2.0" as const, method: "notifications/tools/list_changed" }
})

describe("Audiences", () => {
  it.effect("see each what a server lists to them, and everybody else what it was", () =>
    Effect.gen(function*() {
      const { catalog, forgotten, open } = yield* harness()
      const server = everything("e")
      yield* open(server.upstream)
      const before = catalog.list("tools")
      const revision = catalog.revision("tools")
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e__echo"])
      assert.deepStrictEqual((yield* listed(catalog, sampler)).tools, ["e__echo", "e__sample"])
      assert.deepStrictEqual((yield* listed(catalog, elicitor)).tools, ["e__ask", "e__echo"])
      const both = { sampling: {}, elicitation: {} }
      assert.deepStrictEqual((yield* listed(catalog, caller(both))).tools, ["e__ask", "e__echo", "e__sample"])
      assert.deepStrictEqual(server.declared, [{}, { sampling: {} }, { elicitation: { form: {} } }, both])
      assert.strictEqual(forgotten(), 3)
      // Again, with the same in another object.
      assert.deepStrictEqual(yield* listed(catalog, caller({ sampling: {} })), {
        tools: ["e__echo", "e__sample"],
        waited: 0
      })
      assert.strictEqual(server.second(), 3)
      assert.strictEqual(catalog.list("tools"), before)
      assert.strictEqual(catalog.revision("tools"), revision)
      assert.isUndefined(catalog.find("tools", "e__sample"))
      assert.isUndefined(catalog.audiences.of(nobody))
      assert.isUndefined(catalog.audiences.of(elicitor)?.find("tools", "e__sample"))
      const offer = catalog.audiences.of(sampler)?.find("tools", "e__sample")
      assert.deepStrictEqual(offer?.instances(), [server.upstream.key])
      assert.isTrue(catalog.audiences.isOffered("tools", "e__sample"))
    }))

  it.effect("cost nothing where no server makes a difference: asked once, and when it is connected anew", () =>
    Effect.gen(function*() {
      const { catalog, open, publish } = yield* harness()
      const same = asking("a", () => ["echo"])
      const stateless = asking("b", () => ["echo"], { ...profile, era: "stateless", capabilities: { tools: {} } })
      yield* open(same.upstream)
      yield* open(stateless.upstream)
      yield* listed(catalog, sampler)
      assert.strictEqual(catalog.audiences.of(sampler)?.list("tools"), catalog.list("tools"))
      for (let round = 0; round < 5; round++) {
        yield* publish(notice(same.upstream))
        yield* publish({ _tag: "Connected", upstream: same.upstream, profile: same.upstream.state().profile! })
        yield* listed(catalog, sampler)
      }
      assert.strictEqual(same.second(), 1)
      assert.strictEqual(stateless.second(), 0)
      const anew = { ...same.upstream, state: () => ({ ...same.upstream.state(), profile: { ...profile } }) }
      yield* publish({ _tag: "Connected", upstream: anew, profile: anew.state().profile })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(same.second(), 2)
    }))

  it.effect("are told when a list changes for them, and only they", () =>
    Effect.gen(function*() {
      const { catalog, open, publish } = yield* harness()
      let tools: ReadonlyArray<string> = ["sample"]
      const server = asking("e", ({ sampling }) => ["echo", ...(sampling === undefined ? [] : tools)])
      yield* open(server.upstream)
      yield* listed(catalog, sampler)
      yield* listed(catalog, elicitor)
      let told = 0
      yield* catalog.audiences.changes.pipe(
        Stream.runForEach(() => Effect.sync(() => told++)),
        Effect.forkScoped({ startImmediately: true })
      )
      const revision = catalog.audiences.of(sampler)!.revision("tools")
      yield* TestClock.adjust("1 minute")
      tools = ["sample", "more"]
      yield* publish(notice(server.upstream))
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e__echo", "e__more", "e__sample"])
      assert.isAbove(catalog.audiences.of(sampler)!.revision("tools"), revision)
      assert.strictEqual(catalog.audiences.of(sampler)!.revision("prompts"), catalog.revision("prompts"))
      assert.strictEqual(catalog.audiences.of(elicitor)!.revision("tools"), catalog.revision("tools"))
      assert.strictEqual(told, 1)
      // All that is only theirs goes.
      yield* TestClock.adjust("1 minute")
      tools = []
      yield* publish(notice(server.upstream))
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e__echo"])
      assert.strictEqual(told, 2)
    }))

  it.effect("ask ever more seldom while nothing comes of it", () =>
    Effect.gen(function*() {
      const { catalog, open, publish } = yield* harness()
      const server = everything("e")
      yield* open(server.upstream)
      yield* listed(catalog, sampler)
      // One a second, for five minutes: as often as other clients open connections of their own.
      for (let second = 0; second < 300; second++) yield* publish(notice(server.upstream))
      assert.isAtLeast(server.second(), 20)
      assert.isAtMost(server.second(), 36)
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e__echo", "e__sample"])
    }))

  it.effect("lose nothing where a server can't be read, and ask again when they come back", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      const server = everything("e")
      const other = everything("o")
      let attempts = 0
      server.before.run = ({ caller }) => {
        if (caller === undefined) return Effect.void
        attempts++
        return new UpstreamError({ instance: "e", phase: "notSent", reason: "no more connections" })
      }
      yield* open(server.upstream)
      yield* open(other.upstream)
      assert.deepStrictEqual((yield* listed(catalog, sampler)).tools, ["e__echo", "o__echo", "o__sample"])
      for (let second = 0; second < 600; second++) {
        yield* TestClock.adjust("1 second")
        yield* listed(catalog, sampler)
      }
      assert.isAtLeast(attempts, 10)
      assert.isAtMost(attempts, 20)
      server.before.run = () => Effect.void
      yield* TestClock.adjust("1 minute")
      yield* listed(catalog, sampler)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e__echo", "e__sample", "o__echo", "o__sample"])
      assert.deepStrictEqual(catalog.problems(), [])
    }))

  it.effect("wait 2 s for a server that is slow, and are told later", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      const server = everything("e")
      server.before.run = ({ caller }) => caller === undefined ? Effect.void : Effect.sleep("5 seconds")
      yield* open(server.upstream)
      const first = yield* listed(catalog, sampler, 10_000)
      assert.deepStrictEqual(first, { tools: ["e__echo"], waited: 2_000 })
      const revision = catalog.audiences.of(sampler)!.revision("tools")
      assert.strictEqual((yield* listed(catalog, sampler)).waited, 0)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e__echo", "e__sample"])
      assert.isAbove(catalog.audiences.of(sampler)!.revision("tools"), revision)
    }))

  it.effect("are few, and ask few servers at a time", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      let running = 0
      let most = 0
      for (let index = 0; index < 10; index++) {
        const server = everything(`e${index}`)
        server.before.run = ({ caller }) =>
          caller === undefined ? Effect.void : Effect.suspend(() => {
            most = Math.max(most, ++running)
            return Effect.sleep(10)
          }).pipe(Effect.ensuring(Effect.sync(() => running--)))
        yield* open(server.upstream)
      }
      const variant = (number: number) => caller({ sampling: { number } })
      for (let number = 0; number < 8; number++) {
        assert.strictEqual((yield* listed(catalog, variant(number))).tools.length, 20)
      }
      assert.strictEqual(most, 4)
      // All are in use: one more sees what everybody sees.
      assert.deepStrictEqual(yield* listed(catalog, variant(8)), { tools: names(catalog), waited: 0 })
      yield* TestClock.adjust("2 minutes")
      for (let number = 1; number < 8; number++) catalog.audiences.of(variant(number))
      assert.strictEqual((yield* listed(catalog, variant(8))).tools.length, 20)
      assert.isUndefined(catalog.audiences.of(variant(0)))
      assert.isDefined(catalog.audiences.of(variant(1)))
      assert.strictEqual((yield* listed(catalog, caller({ sampling: { text: "x".repeat(5_000) } }))).tools.length, 10)
    }))

  it.effect("follow servers that come and go, and other names", () =>
    Effect.gen(function*() {
      const { catalog, close, open } = yield* harness()
      const one = everything("e")
      const two = everything("f")
      yield* open(one.upstream)
      yield* listed(catalog, sampler)
      yield* open(two.upstream)
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e__echo", "e__sample", "f__echo", "f__sample"])
      yield* catalog.reconfigure({ naming: { separator: "-" } })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e-echo", "e-sample", "f-echo", "f-sample"])
      assert.isDefined(catalog.audiences.of(sampler)?.find("tools", "e__sample"))
      yield* close(one.upstream)
      assert.deepStrictEqual(seenBy(catalog, sampler), ["f-echo", "f-sample"])
      yield* close(two.upstream)
      assert.deepStrictEqual(seenBy(catalog, sampler), [])
    }))

  it.effect("keep what is theirs of an instance that moves from one registry to another", () =>
    Effect.gen(function*() {
      const { catalog, close, emit, open } = yield* harness()
      const server = everything("e")
      yield* open(server.upstream)
      yield* listed(catalog, sampler)
      const revision = catalog.audiences.of(sampler)!.revision("tools")
      const moved = { ...server.upstream, key: Catalog.key("other", "e") }
      yield* TestClock.adjust("1 minute")
      yield* emit(moved)
      yield* close(server.upstream)
      assert.deepStrictEqual(seenBy(catalog, sampler), ["e__echo", "e__sample"])
      assert.deepStrictEqual(catalog.audiences.of(sampler)!.find("tools", "e__sample")?.instances(), [moved.key])
      assert.strictEqual(catalog.audiences.of(sampler)!.revision("tools"), revision)
    }))
})
