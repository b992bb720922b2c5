import type { Registry, RegistryError } from "@portolan/core/Registry"
import * as Command from "effect/cli/Command"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import type { GatewayAddress } from "../client.ts"
import { failed, type Failure } from "../Failure.ts"
import { plain } from "../terminal.ts"
import { idArgument } from "./operate.ts"
import { instancesOf } from "./query.ts"
import { registryFlag } from "./register.ts"
import { asking, configFlag, otherGatewayFlags, print, printJson } from "./root.ts"

const asFailure = (error: RegistryError): Failure => failed(error.message)

/** Takes a record over and removes it: a registry removes only what still carries the incarnation of whoever asks. */
const removeFrom = (registry: Registry, id: string): Effect.Effect<void, Failure> =>
  Effect.gen(function*() {
    const { hint } = yield* Effect.promise(() => import("@portolan/core/NearestName"))
    const { registrarOf } = yield* Effect.promise(() => import("../target.ts"))
    const registrar = yield* registrarOf(registry)
    const { instances } = yield* Effect.mapError(registry.list, asFailure)
    const found = instances.find((instance) => instance.id === id)
    if (found === undefined) {
      const known = instances.map((instance) => instance.id)
      return yield* failed(`${registry.name}: no instance has the id ${id}${hint(id, known)}`)
    }
    const incarnation = randomBytes(8).toString("hex")
    const lease = yield* Effect.mapError(
      registrar.put({ ...found, status: "draining" }, { ttl: Duration.seconds(30), incarnation }),
      asFailure
    )
    yield* Effect.mapError(registrar.remove(lease), asFailure)
    const left = yield* Effect.mapError(registry.list, asFailure)
    if (left.instances.some((instance) => instance.id === id)) {
      return yield* failed(
        `${registry.name}: ${id} is still there: somebody else wrote it, such as a person into a file`
      )
    }
  })

/** Says where the instance is instead, or which one may have been meant. */
const notThere = (gateway: GatewayAddress, id: string, error: Failure): Effect.Effect<never, Failure> =>
  Effect.gen(function*() {
    const { hint } = yield* Effect.promise(() => import("@portolan/core/NearestName"))
    const all = yield* instancesOf(gateway, undefined)
    const sources = all.filter((instance) => instance.id === id).map((instance) => instance.source)
    const where = sources.length === 0
      ? hint(id, all.map((instance) => instance.id))
      : `; it is in ${sources.join(", ")}`
    return yield* failed(error.message + where)
  })

export const deregister = Command.make(
  "deregister",
  { id: idArgument, registry: registryFlag, config: configFlag, target: otherGatewayFlags },
  Effect.fnUntraced(function*({ config, id, registry, target }) {
    const { client, gateway, json } = yield* asking(target)
    const { resolve } = yield* Effect.promise(() => import("../target.ts"))
    const where = yield* Effect.scoped(Effect.gen(function*() {
      const found = yield* resolve(Option.getOrUndefined(registry), Option.getOrUndefined(config))
      if (found._tag === "Registry") {
        yield* removeFrom(found.registry, id)
        return found.name
      }
      const parameters = found.registry === undefined ? "" : `?registry=${encodeURIComponent(found.registry)}`
      yield* Effect.catch(
        client.write(gateway, "DELETE", `/api/v1/instances/${encodeURIComponent(id)}${parameters}`),
        (error) => error.httpStatus === 404 ? notThere(gateway, id, error) : Effect.fail(error)
      )
      return found.registry ?? gateway.url
    }))
    yield* json ? printJson({ removed: { id, registry: where } }) : print(plain(`${id}: removed from ${where}`))
  })
).pipe(
  Command.withDescription("Remove the record of an instance; whoever still announces it may write it again")
)
