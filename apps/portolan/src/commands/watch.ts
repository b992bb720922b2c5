import type { Event, Topic } from "@portolan/gateway/rest/Events"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { lineOf } from "../changeLine.ts"
import { follow } from "../changes.ts"
import type { GatewayAddress } from "../client.ts"
import { failed, type Failure, wrong } from "../Failure.ts"
import { untilSignal } from "../signals.ts"
import { note, paint } from "../terminal.ts"
import { asking, gatewayFlags, print } from "./root.ts"

/** A gateway says every 2 s that it lives. */
const idle = "10 seconds"
/** Waits before the connection is tried again, ms; uniform between half of the step and all of it. */
const firstPause = 250
const longestPause = 5_000

const clockTime = (event: Event): string => {
  const at = event.event === "resync" ? new Date() : new Date(event.data.at)
  return (Number.isNaN(at.getTime()) ? new Date() : at).toTimeString().slice(0, 8)
}

const readTopics = (text: string): Effect.Effect<ReadonlyArray<Topic>, Failure> =>
  Effect.gen(function*() {
    const Events = yield* Effect.promise(() => import("@portolan/gateway/rest/Events"))
    const { hint } = yield* Effect.promise(() => import("@portolan/core/NearestName"))
    const isTopic = Schema.is(Events.Topic)
    return yield* Effect.forEach(
      text.split(",").map((topic) => topic.trim()),
      (topic) =>
        isTopic(topic)
          ? Effect.succeed(topic)
          : Effect.fail(
            wrong(`--topics: expected ${Events.topics.join(", ")}, got "${topic}"${hint(topic, Events.topics)}`)
          )
    )
  })

/** Hands on the events of one connection until it is lost: that is its failure. */
const session = (
  gateway: GatewayAddress,
  topics: ReadonlyArray<Topic>,
  after: string | undefined,
  onEvent: (event: Event, id: string | undefined) => Effect.Effect<void>
): Effect.Effect<never, Failure> =>
  Effect.scoped(Effect.gen(function*() {
    const client = yield* Effect.promise(() => import("../client.ts"))
    const Events = yield* Effect.promise(() => import("@portolan/gateway/rest/Events"))
    const decode = Schema.decodeUnknownEffect(Events.Event)
    const path = `/api/v1/events?topics=${topics.join(",")}`
    const response = yield* client.open(gateway, path, {
      headers: { accept: "text/event-stream", ...(after === undefined ? {} : { "last-event-id": after }) }
    })
    const answered = response.statusCode ?? 0
    if (answered !== 200) {
      const text = yield* Stream.mkString(client.textOf(gateway, response))
      return yield* client.refusal(gateway, path, answered, text)
    }
    yield* client.eventsOf(gateway, response).pipe(
      Stream.timeoutOrElse({
        duration: idle,
        orElse: () => Stream.fail(failed(`${gateway.url}: nothing was heard for ${idle}`))
      }),
      Stream.runForEach(({ data, event, id }) =>
        decode({ event, ...(id === undefined ? {} : { id }), data: client.parseJson(data) }).pipe(
          // A newer gateway may tell what this version doesn't know.
          Effect.option,
          Effect.flatMap((found) => found._tag === "Some" ? onEvent(found.value, id) : Effect.void)
        )
      )
    )
    return yield* failed(`${gateway.url}: the gateway ended the connection`)
  }))

export const watch = Command.make(
  "watch",
  {
    target: gatewayFlags,
    topics: Flag.String("topics").pipe(
      Flag.withDescription("What is watched: catalog, health, sources, figures"),
      Flag.withDefault("catalog,health,sources")
    )
  },
  Effect.fnUntraced(function*({ target, topics }) {
    const { gateway, json } = yield* asking(target)
    const wanted = yield* readTopics(topics)
    const changes = follow()
    let last: string | undefined
    let connected = false
    let lost = false
    let pause = firstPause

    const onEvent = (event: Event, id: string | undefined) =>
      Effect.gen(function*() {
        last = id ?? last
        connected = true
        pause = firstPause
        if (lost) {
          lost = false
          yield* note("connected again")
        }
        if (json) return event.event === "beat" ? undefined : yield* print(JSON.stringify(event))
        const time = clockTime(event)
        for (const change of changes(event)) yield* print(`${paint("dim", time)}  ${lineOf(change)}`)
      })

    const watching = Effect.forever(
      Effect.catch(Effect.suspend(() => session(gateway, wanted, last, onEvent)), (error) =>
        Effect.gen(function*() {
          // Nobody there in the first place, or not for us.
          const refused = error.httpStatus !== undefined && error.httpStatus >= 400 && error.httpStatus < 500
          if (!connected || refused) return yield* error
          if (!lost) yield* note(`connection lost (${error.message}); trying again`)
          lost = true
          yield* Effect.sleep(pause * (0.5 + 0.5 * (yield* Random.next)))
          pause = Math.min(longestPause, pause * 2)
        }))
    )
    yield* Effect.raceFirst(watching, untilSignal())
  })
).pipe(
  Command.withDescription("Show changes of the fleet as they come, until Ctrl-C"),
  Command.withExamples([
    { command: "portolan watch" },
    { command: "portolan watch --topics health --json", description: "One event a line" }
  ])
)
