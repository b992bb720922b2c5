/** What tests of real sockets look at: the changes that a registry says. */
import * as Identification from "@portolan/core/Identification"
import type * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"

/** Whoever answers anywhere, by the name of its URL; `refuses` says why somebody is not identified. */
export const identification = (
  refuses: (url: string) => Identification.NotIdentified | undefined = () => undefined,
  asked: Array<string> = []
) =>
  Identification.Identification.of({
    identify: ({ url }) =>
      Effect.suspend(() => {
        asked.push(url)
        const refusal = refuses(url)
        return refusal === undefined
          ? Effect.succeed({
            identity: { name: "weather-server", version: "2.0.0", protocolVersion: "2026-07-28" },
            isAlso: () => Effect.succeed(false)
          })
          : Effect.fail(refusal)
      })
  })

/** Follows a registry until the scope closes. */
export const watch = Effect.fnUntraced(function*(registry: Registry.Registry) {
  const instances = new Map<string, ServiceInstance>()
  const rejected = new Map<string, string>()
  const removed: Array<string> = []
  const heard = Latch.makeUnsafe(false)
  let failure = ""
  let events = 0

  const take = (change: Registry.Change) => {
    switch (change._tag) {
      case "Put":
        instances.set(change.instance.id, change.instance)
        return void rejected.delete(change.instance.id)
      case "Reject":
        return void rejected.set(change.rejected.id, change.rejected.reason)
      case "Removed":
        instances.delete(change.id)
        rejected.delete(change.id)
        return void removed.push(`${change.id} ${change.how}`)
    }
  }
  yield* registry.watch.pipe(
    Stream.runForEach((event) =>
      Effect.sync(() => {
        events++
        if (event._tag === "Delta") event.changes.forEach(take)
        if (event._tag === "Snapshot") {
          for (const instance of event.instances) take({ _tag: "Put", instance })
          for (const one of event.rejected) take({ _tag: "Reject", rejected: one })
        }
        heard.openUnsafe()
      })
    ),
    Effect.onExit((exit) =>
      Effect.sync(() => {
        failure = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it ended"
        heard.openUnsafe()
      })
    ),
    Effect.exit,
    Effect.forkScoped
  )
  const until = (what: string, holds: () => boolean) =>
    Effect.gen(function*() {
      while (!holds()) {
        if (failure !== "") return yield* Effect.die(new Error(`no ${what}: ${failure}`))
        heard.closeUnsafe()
        yield* heard.await
      }
    }).pipe(Effect.timeoutOrElse({
      duration: "20 seconds",
      orElse: () =>
        Effect.die(
          new Error(
            `no ${what}; there is ${Array.from(instances.keys()).join()}, rejected ${
              JSON.stringify(Array.from(rejected))
            }, removed ${removed.join()}`
          )
        )
    }))
  const view = {
    instances,
    rejected,
    removed,
    until,
    begun: until("beginning", () => events > 0),
    there: (id: string) => until(id, () => instances.has(id)),
    gone: (id: string) => until(`end of ${id}`, () => events > 0 && !instances.has(id))
  }
  return view
})
