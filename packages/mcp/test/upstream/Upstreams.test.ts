import { assert, describe, it } from "@effect/vitest"
import type { InstanceKey } from "@portolan/core/Catalog"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { UpstreamState } from "../../src/upstream/Upstream.ts"
import { layer, Upstreams } from "../../src/upstream/Upstreams.ts"
import * as Harness from "./Harness.ts"
import * as Servers from "./Servers.ts"

const http = (id: string, url: string): Harness.Input => ({
  id,
  service: id,
  endpoint: { transport: "streamable-http", url }
})

/** Knows the states of upstreams by what changed since the last look alone. */
const follower = (upstreams: Upstreams["Service"]) => {
  const states = new Map<InstanceKey, UpstreamState>()
  let revision = upstreams.revision()
  for (const { key, state } of upstreams.all()) states.set(key, state())
  const look = () => {
    const changed = upstreams.changedSince(revision)
    revision = upstreams.revision()
    for (const key of changed ?? []) {
      const state = upstreams.get(key)?.state()
      if (state === undefined) states.delete(key)
      else states.set(key, state)
    }
    return changed?.length
  }
  return { look, states }
}

const within = <A, E>(
  inputs: ReadonlyArray<Harness.Input>,
  use: (
    upstreams: Upstreams["Service"],
    set: (inputs: ReadonlyArray<Harness.Input>) => Effect.Effect<void>
  ) => Effect.Effect<A, E>
) =>
  Effect.gen(function*() {
    const { layer: discovery, set } = yield* Harness.discovery(inputs)
    return yield* Effect.flatMap(Upstreams, (upstreams) => use(upstreams, set)).pipe(
      Effect.provide(layer().pipe(Layer.provide(discovery)))
    )
  })

describe("changes of upstreams", () => {
  it.live("whoever looks at what changed knows what is: those that come, connect, fail and go", () =>
    Effect.gen(function*() {
      const { url } = yield* Servers.listen(Servers.sessionful().handler)
      const dead = http("dead", "http://127.0.0.1:1/mcp")
      yield* within([dead], (upstreams, set) =>
        Effect.gen(function*() {
          const { look, states } = follower(upstreams)
          const until = (what: string, holds: () => boolean) =>
            Harness.eventually(what, () => {
              look()
              assert.deepStrictEqual(states, new Map(upstreams.all().map(({ key, state }) => [key, state()])))
              return holds() || undefined
            })
          const stateOf = (id: string) => states.get(Harness.keyOf(id))
          yield* until("one that fails", () => stateOf("dead")?._tag === "failed")
          yield* set([dead, http("alive", url)])
          yield* until("one that is connected and heard", () => stateOf("alive")?.heard === true)
          yield* set([dead])
          yield* until("one that is gone", () => stateOf("alive") === undefined)
        }))
    }))

  it.live("who looks where nothing changed is told of nothing, and who missed too much is told so", () =>
    within([], (upstreams, set) =>
      Effect.gen(function*() {
        const { look } = follower(upstreams)
        assert.strictEqual(look(), 0)
        // Nobody is there: each comes, is tried or not, and goes.
        const many = Array.from({ length: 50 }, (_, index): Harness.Input => ({
          id: `a-${index}`,
          service: "a",
          endpoint: { transport: "in-process", name: `a-${index}` }
        }))
        const all = Effect.gen(function*() {
          yield* set(many)
          yield* Harness.eventually("all of them", () => upstreams.all().length === many.length || undefined)
          yield* set([])
          yield* Harness.eventually("none of them", () => upstreams.all().length === 0 || undefined)
        })
        yield* all
        assert.isAtLeast(look() ?? 0, 100)
        yield* Effect.repeat(all, { times: 24 })
        assert.isUndefined(look())
        assert.strictEqual(look(), 0)
      })))
})
