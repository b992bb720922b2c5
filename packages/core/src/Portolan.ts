/**
 * Everything of core in one layer: what most programs start from.
 *
 * **Example** (Composing a fleet)
 *
 * ```ts
 * const Live = Fleet.pipe(Layer.provideMerge(Portolan.layer({ balancing: { strategy: "peak-ewma" } })))
 * ```
 *
 * where `Fleet` merges the layers of adapters, each of which adds itself to `Registries`.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as Balancer from "./Balancer.ts"
import * as Discovery from "./Discovery.ts"
import * as Health from "./Health.ts"
import * as Registries from "./Registries.ts"
import * as Router from "./Router.ts"

/**
 * Settings of the services, each with its defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface PortolanOptions {
  readonly discovery?: Discovery.DiscoveryOptions | undefined
  readonly health?: Health.HealthOptions | undefined
  readonly balancing?: Balancer.BalancerOptions | undefined
  readonly routing?: Router.RouterOptions | undefined
}

/**
 * Layer that provides registries (none yet), discovery, health, balancer and router.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: PortolanOptions = {}
): Layer.Layer<
  Registries.Registries | Discovery.Discovery | Health.Health | Balancer.Balancer | Router.Router
> =>
  Router.layer(options.routing).pipe(
    Layer.provideMerge(Health.layer(options.health)),
    Layer.provideMerge(Balancer.layer(options.balancing)),
    Layer.provideMerge(Discovery.layer(options.discovery)),
    Layer.provideMerge(Registries.layer)
  )
