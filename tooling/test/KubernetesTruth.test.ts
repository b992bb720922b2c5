/** That lists and watches of the stand-in for Kubernetes tell the truth, whatever happens between. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { at, type Json, listOf, textOf } from "../src/backends/kubernetes-api/Json.ts"
import * as KubernetesApi from "../src/backends/KubernetesApi.ts"
import { eventsOf, json, nameOf, revisionOf, service, services, watch } from "./KubernetesClient.ts"

type Api = KubernetesApi.KubernetesApi

const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Effect.scoped(effect))

type View = Map<string, string>

/** Keeps a view of the Services, as clients do: a list in pages, watches from its revision, a list again after 410. */
const reflect = (api: Api, view: View, changed: () => void) => {
  const note = (object: Json | undefined) =>
    view.set(nameOf(object), textOf(at(object, "metadata", "annotations", "n")))
  const page = (query: string) => Effect.retry(json(api, { path: `${services}?limit=2${query}` }), { times: 1000 })
  const list = Effect.gen(function*() {
    const items: Array<Json> = []
    let query = ""
    for (;;) {
      const body = yield* page(query)
      // The token is too old: from the beginning.
      if (at(body, "code") === 410) {
        items.length = 0
        query = ""
        continue
      }
      items.push(...listOf(at(body, "items")))
      query = `&continue=${textOf(at(body, "metadata", "continue"))}`
      if (query !== "&continue=") continue
      view.clear()
      items.forEach(note)
      changed()
      return revisionOf(body)
    }
  })
  /** Follows one watch to its end; the revision to go on from, or nothing where a list is needed. */
  const follow = (from: string) =>
    Effect.gen(function*() {
      let revision = from
      let told = 0
      const stream = yield* watch(api, `${services}?watch=1&resourceVersion=${from}`)
      for (;;) {
        const text = yield* stream.until((text) => text.lastIndexOf("\n") >= told)
        if (text.lastIndexOf("\n") < told) return revision
        for (const event of eventsOf(text.slice(told))) {
          const object = at(event, "object")
          const type = textOf(at(event, "type"))
          if (type === "ERROR") return undefined
          assert.strictEqual(view.has(nameOf(object)), type !== "ADDED", `${type} of ${nameOf(object)}`)
          if (type === "DELETED") view.delete(nameOf(object))
          else note(object)
          revision = revisionOf(object)
        }
        told = text.lastIndexOf("\n") + 1
        changed()
      }
    }).pipe(Effect.scoped, Effect.retry({ times: 1000 }))
  return Effect.gen(function*() {
    for (;;) {
      let revision: string | undefined = yield* list
      while (revision !== undefined) revision = yield* follow(revision)
    }
  })
}

const command = fc.oneof(
  fc.record({ do: fc.constant("put" as const), name: fc.constantFrom("a", "b", "c", "d", "e"), n: fc.string() }),
  fc.record({ do: fc.constant("remove" as const), name: fc.constantFrom("a", "b", "c", "d", "e") }),
  fc.record({ do: fc.constantFrom("compact" as const, "cut" as const, "endWatches" as const, "other" as const) }),
  fc.record({
    do: fc.constant("chunks" as const),
    how: fc.constantFrom("whole" as const, "split" as const, "joined" as const)
  }),
  fc.record({ do: fc.constant("wait" as const), millis: fc.integer({ min: 0, max: 5 }) })
)

describe("lists and watches of the stand-in", () => {
  it("tell the truth, whatever happens between", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 30 }), (commands) =>
        run(Effect.gen(function*() {
          const api = yield* KubernetesApi.make()
          const truth: View = new Map()
          const view: View = new Map()
          let told = () => {}
          const following = yield* Effect.forkChild(reflect(api, view, () => told()))
          for (const one of commands) {
            if (one.do === "put") {
              truth.set(one.name, one.n)
              yield* api.apply(service(one.name, one.n))
            } else if (one.do === "remove") {
              truth.delete(one.name)
              yield* api.remove({ kind: "Service", namespace: "mcp", name: one.name })
            } else if (one.do === "chunks") yield* api.chunks(one.how)
            else if (one.do === "other") yield* api.apply({ kind: "Lease", metadata: { name: "other" } })
            else if (one.do === "wait") yield* Effect.sleep(one.millis)
            else yield* api[one.do]
          }
          const last = Effect.callback<void>((resume) => {
            told = () => view.has("last") && resume(Effect.void)
          })
          const waiting = yield* Effect.forkChild(last, { startImmediately: true })
          truth.set("last", "")
          yield* api.apply(service("last"))
          yield* Effect.raceFirst(Fiber.join(waiting), Fiber.join(following))
          assert.deepStrictEqual(new Map([...view].sort()), new Map([...truth].sort()))
        }))),
      { numRuns: 30 }
    )
  })
})
