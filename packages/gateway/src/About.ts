/**
 * What the HTTP surface knows of the process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

/**
 * Service that tells the version, and whether the gateway is ready for traffic.
 *
 * @category services
 * @since 0.1.0
 */
export class About extends Context.Service<About, {
  readonly version: string
  /** Plain. */
  readonly ready: () => boolean
}>()("@portolan/gateway/About") {}
