/**
 * A request to the router that may move to another instance while it is tried.
 *
 * @since 0.2.0
 */
import type { RouteRequest } from "@portolan/core/Router"

/**
 * A request whose affinity is asked for whenever the router reads it: a call beside it may have moved the session meanwhile.
 *
 * **Details**: a class and not an object with a getter, for which V8 would make a shape of its own each time, in the old
 * generation, where it holds all that the call held until the next full collection: several kilobytes a call.
 *
 * @category models
 * @since 0.2.0
 */
export class BoundRequest implements RouteRequest {
  readonly target: RouteRequest["target"]
  readonly name: string
  readonly caller: RouteRequest["caller"]
  readonly hashKey: string | undefined
  readonly repeatable: boolean
  readonly readOnly: boolean | undefined
  readonly timeout: number | undefined
  readonly maxTimeout: number | undefined
  readonly #affinity: () => RouteRequest["affinity"]

  constructor(request: RouteRequest & { readonly name: string }, affinity: () => RouteRequest["affinity"]) {
    this.target = request.target
    this.name = request.name
    this.caller = request.caller
    this.hashKey = request.hashKey
    this.repeatable = request.repeatable
    this.readOnly = request.readOnly
    this.timeout = request.timeout
    this.maxTimeout = request.maxTimeout
    this.#affinity = affinity
  }

  get affinity(): RouteRequest["affinity"] {
    return this.#affinity()
  }
}
