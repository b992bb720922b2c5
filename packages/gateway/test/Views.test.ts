import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import { Views } from "@portolan/gateway/rest/Views"
import type { UpstreamState } from "@portolan/mcp/upstream/Upstream"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { instance, toolCatalog } from "./fleet.ts"

const record = instance("a-1")

const problems = (state: Pick<UpstreamState, "_tag" | "lastError">) => {
  const upstreams = Upstreams.of({
    get: () => undefined,
    all: () => [{
      key: Catalog.key("memory", record.id),
      instance: () => record,
      state: () => ({ ...state, since: 0, profile: undefined }),
      connect: Effect.never,
      request: () => Effect.never,
      notify: () => Effect.void,
      session: () => undefined,
      follow: () => Effect.never
    }],
    forget: () => {},
    reconfigure: () => Effect.void,
    events: Stream.never
  })
  return Effect.gen(function*() {
    yield* (yield* Discovery).ready
    return (yield* Views).status().problems.map(({ reason }) => reason)
  }).pipe(Effect.provide(Views.layer.pipe(
    Layer.provide([toolCatalog, Layer.succeed(Upstreams, upstreams)]),
    Layer.provideMerge(MemoryRegistry.layer({ instances: [record] })),
    Layer.provideMerge(Portolan.layer())
  )))
}

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
