/**
 * A gateway in this process that reads one registry, with callers that never pause: what its catalog published, and how
 * the calls went.
 */
import type * as Catalog from "@portolan/core/Catalog"
import * as Discovery from "@portolan/core/Discovery"
import * as Portolan from "@portolan/core/Portolan"
import * as Registries from "@portolan/core/Registries"
import type { Registry } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Gateway from "@portolan/gateway/Gateway"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Peers from "../peers.ts"

/** All that the catalog published, and what it is now. */
interface Seen {
  readonly catalog: Catalog.Catalog
  readonly published: ReadonlyArray<string>
}

export interface Observed {
  readonly source: () => Catalog.SourceState | undefined
  readonly entry: (id: string) => Catalog.CatalogEntry | undefined
  /** Waits until the catalog is so, `within` ms at most. */
  readonly until: (what: string, holds: () => boolean, within: number) => Effect.Effect<void>
  /** Every change of a record since the beginning, as `Added alpha-1`. */
  readonly published: () => ReadonlyArray<string>
  /** Waits until so many more calls of each tool were answered. */
  readonly calls: (count: number) => Effect.Effect<void>
  /** What went wrong with calls. */
  readonly failures: () => ReadonlyArray<string>
}

/** Whether a record is another: that its registry lacks it for now only marks it. */
const isChange = (change: Catalog.CatalogChange) =>
  change._tag !== "Updated" || !ServiceInstance.equals(change.entry.instance, change.previous.instance)

/** Observes until the scope closes. Each of the tools is there, and called, when it answers. */
export const observe = Effect.fnUntraced(function*(
  registry: Registry,
  tools: ReadonlyArray<string>
): Effect.fn.Return<Observed, never, Scope.Scope> {
  const services = yield* Effect.orDie(Layer.build(
    Gateway.layer({ port: 0, shutdownTimeout: "1 second" }).pipe(
      // Silence is noticed sooner than by default, so that tests don't wait for it.
      Layer.provideMerge(Portolan.layer({ discovery: { idleTimeout: "3 seconds", connectTimeout: "3 seconds" } }))
    )
  ))
  const discovery = Context.get(services, Discovery.Discovery)
  const seen = yield* SubscriptionRef.make<Seen>({ catalog: discovery.catalog(), published: [] })
  yield* discovery.updates.pipe(
    Stream.runForEach(({ catalog, changes }) =>
      SubscriptionRef.update(seen, ({ published }) => ({
        catalog,
        published: [...published, ...changes.filter(isChange).map(({ _tag, entry }) => `${_tag} ${entry.instance.id}`)]
      }))
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* Effect.orDie(Context.get(services, Registries.Registries).add(registry))

  const now = () => SubscriptionRef.getUnsafe(seen)
  const source = () => now().catalog.sources.get(registry.name)
  const until = (what: string, holds: () => boolean, within: number) =>
    SubscriptionRef.changes(seen).pipe(
      Stream.filter(holds),
      Stream.take(1),
      Stream.runDrain,
      Effect.timeoutOrElse({
        duration: within,
        orElse: () => Effect.die(new Error(`not within ${within} ms: ${what}; ${JSON.stringify(source())}`))
      })
    )

  const peer = yield* Peers.stateless(Context.get(services, Gateway.Gateway).url)
  const answered = yield* SubscriptionRef.make<ReadonlyMap<string, number>>(new Map())
  const failures: Array<string> = []
  const call = Effect.fnUntraced(function*(tool: string) {
    const answer = yield* Effect.promise(() => peer.call(tool, {}).then(Peers.textOf, String))
    if (answer === "echo") {
      yield* SubscriptionRef.update(answered, (counts) => new Map(counts).set(tool, (counts.get(tool) ?? 0) + 1))
    } else failures.push(`${tool}: ${answer}`)
    yield* Effect.sleep("50 millis")
  })
  const listed = Effect.promise(peer.tools).pipe(
    Effect.map((found) => tools.every((tool) => found.some(({ name }) => name === tool)))
  )
  yield* Effect.repeat(Effect.delay(listed, "20 millis"), { until: (all) => all }).pipe(
    Effect.timeout("20 seconds"),
    Effect.orDie
  )
  for (const tool of tools) yield* Effect.forkScoped(Effect.forever(call(tool)))

  return {
    source,
    entry: (id) => Array.from(HashMap.values(now().catalog.entries)).find(({ instance }) => instance.id === id),
    until,
    published: () => now().published,
    calls: (count) =>
      Effect.suspend(() => {
        const before = SubscriptionRef.getUnsafe(answered)
        return SubscriptionRef.changes(answered).pipe(
          Stream.filter((counts) => tools.every((tool) => (counts.get(tool) ?? 0) >= (before.get(tool) ?? 0) + count)),
          Stream.take(1),
          Stream.runDrain,
          Effect.timeout("20 seconds"),
          Effect.orDie
        )
      }),
    failures: () => failures
  }
})
