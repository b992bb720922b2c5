/**
 * A request about one resource to a server of the handshake era.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type { Reply } from "../../JsonRpc.ts"
import type { Link } from "../Link.ts"
import type { Failure } from "../transports/Connection.ts"

/** ms that a server has to answer. */
const AnswerTime = 30_000

/**
 * Asks a server to tell of a resource, or not to any more. Gives what it said, or why it could not be asked.
 *
 * @category requests
 * @since 0.2.0
 */
export const ask = (
  link: Link,
  method: "resources/subscribe" | "resources/unsubscribe",
  uri: string
): Effect.Effect<Reply | Failure> =>
  Effect.callback<Reply | Failure>((resume) => {
    const done = (outcome: Reply | Failure) => resume(Effect.succeed(outcome))
    return Effect.sync(link.request({ method, params: { uri } }, done, done))
  }).pipe(
    Effect.timeoutOrElse({
      duration: AnswerTime,
      orElse: () =>
        Effect.succeed<Failure>({
          phase: "mayHaveRun",
          reason: `${method} was not answered within ${AnswerTime} ms`
        })
    })
  )
