/**
 * Listens to what a server says of itself: the GET stream of the handshake era, `subscriptions/listen` of the stateless.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type Fields, isFields } from "../JsonRpc.ts"
import type { Link } from "./Link.ts"
import { type Failure, type StreamEnd } from "./transports/Connection.ts"
import type { ServerProfile } from "./Upstream.ts"

/** ms */
const FirstPause = 250
const LongestPause = 30_000
/** ms that a stream must have lived for its end to be news. */
const Lasting = 5_000

/** What of the lists a server says it will tell about. */
const filterOf = (capabilities: Fields): Fields | undefined => {
  const filter: Record<string, boolean> = {}
  for (const list of ["tools", "prompts", "resources"]) {
    const capability = capabilities[list]
    if (isFields(capability) && capability["listChanged"] === true) filter[`${list}ListChanged`] = true
  }
  return Object.keys(filter).length === 0 ? undefined : filter
}

/** Opens the stream once and waits for its end. */
const openOnce = (
  link: Link,
  profile: ServerProfile,
  onOpen: () => void
): Effect.Effect<StreamEnd> => {
  if (profile.era === "handshake") {
    return Effect.callback((resume) => {
      const stop = link.connection()?.listen?.((end) => resume(Effect.succeed(end)), onOpen)
      return stop === undefined ? resume(Effect.succeed({ _tag: "absent" })) : Effect.sync(stop)
    })
  }
  const notifications = filterOf(profile.capabilities)
  if (notifications === undefined) return Effect.succeed({ _tag: "absent" })
  return Effect.callback((resume) => {
    const cancel = link.request(
      { method: "subscriptions/listen", params: { notifications }, onNotification: onOpen },
      (reply) => resume(Effect.succeed("error" in reply ? { _tag: "absent" } : { _tag: "closed", retry: undefined })),
      (failure) =>
        resume(Effect.succeed(
          failure.phase === "answered"
            ? failure.status !== undefined && (failure.status >= 500 || failure.status === 429)
              ? { _tag: "closed", retry: failure.retryAfter ?? FirstPause }
              : { _tag: "absent" }
            : { _tag: "lost", failure }
        ))
    )
    return Effect.sync(cancel)
  })
}

/**
 * Keeps the stream open, with growing pauses where it ends at once, until it shows that the link is lost: that is the
 * result. Never ends for a server that offers no stream. `onStreamed` (plain) is called whenever what the server tells from
 * now on is heard: the stream is `open`, or there is none. `gap`: what it told since the link was opened, or since the
 * stream before ended, may be lost: a stateless server resumes nothing, another one only after events that had ids.
 * `onUnopened` (plain) is called whenever an attempt ended and none has succeeded so far.
 *
 * @category listening
 * @since 0.1.0
 */
export const follow = Effect.fnUntraced(function*(
  link: Link,
  profile: ServerProfile,
  onStreamed: (open: boolean, gap: boolean) => void,
  onUnopened?: () => void
): Effect.fn.Return<Failure> {
  const clock = yield* Clock.Clock
  let pause = FirstPause
  let attempts = 0
  let opened = 0
  // What is asked for as soon as there is a link misses nothing, however late a server says that it is open.
  const onOpen = () => {
    if (opened === attempts) return
    opened = attempts
    onStreamed(true, attempts > 1)
  }
  for (;;) {
    attempts++
    const since = clock.currentTimeMillisUnsafe()
    const end = yield* openOnce(link, profile, onOpen)
    if (end._tag === "absent") {
      onStreamed(false, false)
      return yield* Effect.never
    }
    const lasted = clock.currentTimeMillisUnsafe() - since >= Lasting
    if (end._tag === "lost" && (lasted || end.failure.phase === "notSent" || end.failure.sessionLost === true)) {
      link.lose(end.failure)
      return end.failure
    }
    if (opened === 0) onUnopened?.()
    if (lasted) pause = FirstPause
    yield* Effect.sleep(Math.max(pause, end._tag === "closed" ? end.retry ?? 0 : 0))
    pause = Math.min(pause * 2, LongestPause)
  }
})
