import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as Registries from "@portolan/core/Registries"
import { Views } from "@portolan/gateway/rest/Views"
import type { UpstreamState } from "@portolan/mcp/upstream/Upstream"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { instance, toolCatalog, upstreams } from "./fleet.ts"

const record = instance("a-1")

const problems = (state: Pick<UpstreamState, "_tag" | "lastError">) => {
  const connected = Upstreams.of({
    ...upstreams,
    all: () => [{
      key: Catalog.key("memory", record.id),
      instance: () => record,
      state: () => ({ ...state, since: 0, profile: undefined }),
      connect: Effect.never,
      request: () => Effect.never,
      notify: () => Effect.void,
      session: () => undefined,
      follow: () => Effect.never
    }]
  })
  return Effect.gen(function*() {
    yield* (yield* Discovery).ready
    return (yield* Views).status().problems.map(({ reason }) => reason)
  }).pipe(Effect.provide(Views.layer.pipe(
    Layer.provide([toolCatalog, Layer.succeed(Upstreams, connected)]),
    Layer.provideMerge(MemoryRegistry.layer({ instances: [record] })),
    Layer.provideMerge(Portolan.layer())
  )))
}

describe("instances of an id", () => {
  it.effect("are found in all sources, or in one, without a look at others", () =>
    Effect.gen(function*() {
      const real = yield* Discovery
      const registries = yield* Registries.Registries
      yield* registries.add(
        yield* MemoryRegistry.make({
          name: "far",
          instances: [instance("a-1", { endpoint: { transport: "streamable-http", url: "http://127.0.0.1:2/far" } })]
        })
      )
      yield* real.ready
      const other = real.catalog().entries.pipe(HashMap.get(Catalog.key("memory", "a-1")), Option.getOrThrow)
      const unread = {
        ...other,
        get instance(): never {
          throw new Error("another was read")
        }
      }
      const read = Discovery.of({
        ...real,
        catalog: () => {
          const catalog = real.catalog()
          return { ...catalog, entries: HashMap.set(catalog.entries, Catalog.key("memory", "b"), unread) }
        }
      })
      yield* Effect.gen(function*() {
        const views = yield* Views
        const sources = (id: string, source?: string) => views.withId(id, source).map(({ source }) => source)
        assert.deepStrictEqual(sources("a-1"), ["far", "memory"])
        assert.deepStrictEqual(sources("a-1", "memory"), ["memory"])
        assert.deepStrictEqual(sources("a-1", "nowhere"), [])
        assert.deepStrictEqual(sources("a-2"), [])
        assert.throws(views.entries, "another was read")
      }).pipe(Effect.provide(Views.layer.pipe(
        Layer.provide([toolCatalog, Layer.succeed(Upstreams, upstreams), Layer.succeed(Discovery, read)])
      )))
    }).pipe(Effect.provide(
      MemoryRegistry.layer({ instances: [record] }).pipe(Layer.provideMerge(Portolan.layer()))
    )))
})

describe("problems", () => {
  it.effect("name a server that failed, also while it is tried again, and none that just connects", () =>
    Effect.gen(function*() {
      const lastError = "no answer to the handshake within 10s"
      assert.deepStrictEqual(yield* problems({ _tag: "failed", lastError }), [lastError])
      assert.deepStrictEqual(yield* problems({ _tag: "connecting", lastError }), [lastError])
      assert.deepStrictEqual(yield* problems({ _tag: "connecting", lastError: undefined }), [])
      assert.deepStrictEqual(yield* problems({ _tag: "connected", lastError }), [])
    }))
})
