/**
 * What servers of the handshake era ask for a call, put to a client of the same era while the call runs.
 *
 * @since 0.2.0
 */
import type { Attempt } from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { ServerRequest } from "../../upstream/Upstream.ts"
import type { Exchange } from "./Exchange.ts"
import * as Inputs from "./Inputs.ts"

/**
 * Makes what asks a client for a call. Its time stands still meanwhile, and from the first question on it is tried nowhere
 * else. What is still asked when the scope closes is withdrawn.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.gen(function*() {
  const scope = yield* Scope.Scope
  const fork = Effect.runForkWith(yield* Effect.context())
  return (ask: NonNullable<Exchange["ask"]>) =>
  (attempt: Attempt, { method, params, progress, reply, withdrawn }: ServerRequest): void => {
    if (!attempt.isHeard() || withdrawn.aborted) return reply(Inputs.refusal("no longer needed"))
    attempt.commit()
    const resume = attempt.pause()
    const fiber = Fiber.runIn(fork(Effect.map(ask(method, params, progress), reply)), scope)
    const withdraw = () => fiber.interruptUnsafe()
    withdrawn.addEventListener("abort", withdraw, { once: true })
    fiber.addObserver((exit) => {
      withdrawn.removeEventListener("abort", withdraw)
      resume()
      if (exit._tag === "Failure") reply(Inputs.refusal("the client could not be asked"))
    })
  }
})
