/**
 * Announces instances where `--registry` says, and tells how that goes.
 */
import * as Announcement from "@portolan/core/Announcement"
import { refusal } from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { GatewayAddress } from "./client.ts"
import { failed, type Failure, wrong } from "./Failure.ts"
import * as GatewayRegistry from "./gatewayRegistry.ts"
import { resolve } from "./target.ts"
import { note, plain } from "./terminal.ts"

/** An announced instance, and where that is, for a person. */
export interface Announced {
  readonly announcement: Announcement.Announcement
  readonly where: string
  readonly type: string
  readonly registry: string | undefined
}

/** Announces for the life of the scope. Fails where that was refused; what may become better is tried again. */
export type Announce = (
  instance: ServiceInstance,
  ttl: Duration.Duration
) => Effect.Effect<Announced, Failure, Scope.Scope>

/** Opens the place that `--registry` names, for the life of the scope. */
export const announcer = (
  gateway: GatewayAddress,
  where: { readonly registry: string | undefined; readonly config: string | undefined }
): Effect.Effect<Announce, Failure, Scope.Scope> =>
  Effect.map(resolve(where.registry, where.config), (target): Announce =>
    target._tag === "Registry"
      ? Effect.fnUntraced(function*(instance, ttl) {
        // Nobody with this configuration would take it. What others trust the registry with is theirs to say.
        const refused = refusal({ ...target.registry, trust: "full" }, instance)
        if (refused !== undefined) return yield* wrong(refused)
        const announcement = yield* Effect.mapError(
          Announcement.announce(target.registry, instance, { ttl }),
          (error) => failed(error.message)
        )
        const shown = target.type === target.name ? target.type : `${target.type} (${target.name})`
        return { announcement, where: shown, type: target.type, registry: target.name }
      })
      : Effect.fnUntraced(function*(instance, ttl) {
        const through = GatewayRegistry.make(gateway, target.registry)
        const announcement = yield* Effect.mapError(
          Announcement.announce(through.registry, instance, { ttl }),
          (error) => failed(error.message)
        )
        const refused = through.refused()
        if (refused !== undefined) return yield* refused
        const shown = `${target.registry ?? "memory"} of ${gateway.url}`
        return { announcement, where: shown, type: "gateway", registry: target.registry }
      }))

/** A line that says that the record is there; a registry may grant another lease than it was asked for. */
const lineOf = ({ announcement, registry, type, where }: Announced, ttl: Duration.Duration, json: boolean): string => {
  const { id, service } = announcement.instance()
  const granted = Duration.toSeconds(announcement.lease() ?? ttl)
  return json
    ? JSON.stringify({ announced: { id, service, type, registry: registry ?? null, lease: `${granted}s` } })
    : plain(`announced ${id} in ${where}, lease ${granted} s`)
}

/** Says when the record is there, with `say`, and beside that when it isn't any more, and when it is again. */
export const tell = (
  announced: Announced,
  options: { readonly ttl: Duration.Duration; readonly json: boolean; readonly say: (line: string) => void }
): Effect.Effect<never> =>
  Effect.gen(function*() {
    const { announcement } = announced
    const id = announcement.instance().id
    let first = true
    let trouble: string | undefined
    while (true) {
      const state = announcement.state()
      if (state.announced && first) {
        first = false
        options.say(lineOf(announced, options.ttl, options.json))
      } else if (state.announced && state.lastError === undefined && trouble !== undefined) {
        yield* note(`${id} is announced again`)
      }
      if (state.lastError !== undefined && state.lastError !== trouble) {
        yield* note(`${id} is ${state.announced ? "not renewed" : "not announced"}: ${state.lastError}; trying again`)
      }
      trouble = state.lastError
      yield* Effect.sleep("200 millis")
    }
  })
