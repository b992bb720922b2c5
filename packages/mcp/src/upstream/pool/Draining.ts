/**
 * The end of what is under way at a server that is no longer announced.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type { Era } from "../../Era.ts"
import type { Link } from "../Link.ts"

/** ms between two looks whether the server still answers, and that it has to do so. */
const LastLooks = 10_000

const idle = (busy: Link) => Effect.callback<void>((resume) => busy.whenIdle(() => resume(Effect.void)))

/** Done once the server doesn't answer. */
const silence = (busy: Link, era: Era | undefined) =>
  Effect.callback<boolean>((resume) =>
    Effect.sync(busy.request(
      { method: era === "stateless" ? "server/discover" : "ping" },
      () => resume(Effect.succeed(true)),
      (failure) => resume(Effect.succeed(failure.phase === "answered"))
    ))
  ).pipe(
    Effect.timeoutOrElse({ duration: LastLooks, orElse: () => Effect.succeed(false) }),
    Effect.delay(LastLooks),
    Effect.repeat({ while: (answers) => answers })
  )

/**
 * Waits until nothing is under way on a link: how long its calls take is theirs to say. A server that died without a word is
 * not waited for.
 *
 * @category draining
 * @since 0.2.0
 */
export const finished = (busy: Link, era: Era | undefined): Effect.Effect<unknown> =>
  Effect.raceFirst(idle(busy), silence(busy, era))
