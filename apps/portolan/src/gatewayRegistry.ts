/**
 * A running gateway as a registry that is written through its REST API.
 */
import * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Client from "./client.ts"
import type { Failure } from "./Failure.ts"

/** A registry of a gateway, and what that refused for good: nothing becomes better by trying again. */
export interface GatewayRegistry {
  readonly registry: Registry.Registry
  readonly refused: () => Failure | undefined
}

/** As the REST API takes it: whole seconds, one at least. */
const seconds = (ttl: Duration.Duration): string => `${Math.max(1, Math.ceil(Duration.toSeconds(ttl)))}s`

/** Makes the registry; `name` is the gateway's own name of one of its registries, none: the one it chooses. */
export const make = (gateway: Client.GatewayAddress, name: string | undefined): GatewayRegistry => {
  let refused: Failure | undefined
  const shown = name ?? gateway.url
  const pathOf = (id: string, ttl?: Duration.Duration): string => {
    const parameters = new URLSearchParams({
      ...(name === undefined ? {} : { registry: name }),
      ...(ttl === undefined ? {} : { ttl: seconds(ttl) })
    })
    const path = `/api/v1/instances/${encodeURIComponent(id)}`
    return parameters.size === 0 ? path : `${path}?${parameters}`
  }
  const asRegistryError = (operation: string) => (error: Failure) =>
    new Registry.RegistryError({ registry: shown, operation, reason: error.message })
  const put = (instance: ServiceInstance, ttl: Duration.Duration) =>
    Client.write(gateway, "PUT", pathOf(instance.id, ttl), instance)

  const registrar: Registry.Registrar = {
    put: (instance, { incarnation, ttl }) =>
      put(instance, ttl).pipe(
        Effect.tapError((error) =>
          Effect.sync(() => {
            const status = error.httpStatus
            if (status !== undefined && status >= 400 && status < 500 && status !== 429) refused = error
          })
        ),
        Effect.mapBoth({
          onFailure: asRegistryError("put"),
          onSuccess: () => ({ instance, incarnation, ttl, handle: instance.id })
        })
      ),
    // A gateway that was started again knows nothing of it any more; writing it is renewing it.
    renew: (leases) =>
      Effect.as(
        Effect.forEach(leases, ({ instance, ttl }) => Effect.mapError(put(instance, ttl), asRegistryError("renew"))),
        []
      ),
    remove: ({ instance }) =>
      Client.write(gateway, "DELETE", pathOf(instance.id)).pipe(
        Effect.catch((error) => error.httpStatus === 404 ? Effect.void : Effect.fail(asRegistryError("remove")(error))),
        Effect.asVoid
      )
  }
  return {
    registry: Registry.make({
      name: shown,
      type: "gateway",
      list: Effect.succeed(Registry.snapshot([])),
      watch: Stream.never,
      registrar: Option.some(registrar)
    }),
    refused: () => refused
  }
}
