/**
 * What was asked so far, and whoever waits for a request.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { type Asked, isMeant } from "./Faults.ts"
import type { Json } from "./Json.ts"

/**
 * A request as it was answered.
 *
 * @category models
 * @since 0.2.0
 */
export interface ApiRequest extends Asked {
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly body: Json
  readonly status: number
}

/**
 * The log.
 *
 * @category models
 * @since 0.2.0
 */
export interface Log {
  readonly add: (request: ApiRequest) => void
  readonly requests: Effect.Effect<ReadonlyArray<ApiRequest>>
  readonly next: (which: Partial<Asked>) => Effect.Effect<ApiRequest>
}

/** As many requests as a test may want to look back at. */
const remembered = 10_000

/**
 * Makes an empty log.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (): Log => {
  let log: Array<ApiRequest> = []
  const expected = new Set<(request: ApiRequest) => void>()
  return {
    add: (request) => {
      log.push(request)
      if (log.length > 2 * remembered) log = log.slice(-remembered)
      for (const told of expected) told(request)
    },
    requests: Effect.sync(() => log.slice(-remembered)),
    next: (which) =>
      Effect.callback((resume) => {
        const told = (request: ApiRequest) => {
          if (!isMeant(which, request)) return
          expected.delete(told)
          resume(Effect.succeed(request))
        }
        expected.add(told)
        return Effect.sync(() => void expected.delete(told))
      })
  }
}
