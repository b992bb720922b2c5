/**
 * Answers what happens.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as NearestName from "@portolan/core/NearestName"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import { Api } from "../rest/Api.ts"
import { Changes } from "../rest/Changes.ts"
import { EventFeed } from "../rest/EventFeed.ts"
import { Topic, topics as everyTopic } from "../rest/Events.ts"
import { mistaken } from "../rest/Problems.ts"
import { Series } from "../rest/Series.ts"
import { millisOf } from "./durations.ts"

const isTopic = Schema.is(Topic)

const topicsOf = (text: string | undefined) => {
  if (text === undefined) return Effect.succeed(new Set(everyTopic))
  const topics = new Set<Topic>()
  for (const name of text.split(",").map((part) => part.trim())) {
    if (!isTopic(name)) {
      const message = `expected some of ${everyTopic.join(", ")}${NearestName.hint(name, everyTopic)}`
      return Effect.fail(mistaken([{ path: "topics", message }]))
    }
    topics.add(name)
  }
  return Effect.succeed(topics)
}

const takesGzip = (accepted: string | undefined): boolean =>
  accepted !== undefined &&
  accepted.split(",").some((coding) => /^\s*(gzip|\*)\s*(;\s*q=(?!0(\.0*)?\s*$).*)?$/i.test(coding))

export const layer = HttpApiBuilder.group(
  Api,
  "watching",
  Effect.fnUntraced(function*(handlers) {
    const feed = yield* EventFeed
    const series = yield* Series
    const changes = yield* Changes

    return handlers.handleAll({
      events: Effect.fnUntraced(function*({ headers, query, request }) {
        const topics = yield* topicsOf(query.topics)
        const incoming = NodeHttpServerRequest.toIncomingMessage(request)
        const gzip = takesGzip(request.headers["accept-encoding"])
        const stream = yield* feed.open({
          topics,
          lastEventId: headers["last-event-id"],
          gzip,
          stalled: () => incoming.socket.destroy()
        })
        return HttpServerResponse.stream(stream, {
          contentType: "text/event-stream",
          headers: {
            "cache-control": "no-store",
            "x-accel-buffering": "no",
            // The listener may have named Origin.
            "vary": request.headers["origin"] === undefined ? "Accept-Encoding" : "Origin, Accept-Encoding",
            ...gzip ? { "content-encoding": "gzip" } : {}
          }
        })
      }),
      changes: Effect.fnUntraced(function*({ query }) {
        if (query.before !== undefined && !/^\d{1,20}$/.test(query.before)) {
          return yield* mistaken([{ path: "before", message: "expected the id of a change" }])
        }
        return changes.list({ ...query, limit: query.limit ?? 100, before: query.before?.padStart(16, "0") })
      }),
      series: Effect.fnUntraced(function*({ query }) {
        const step = query.step === undefined ? series.step : millisOf(query.step)
        const window = query.window === undefined ? series.window : millisOf(query.window)
        if (step < series.step || step % series.step !== 0 || step > series.window) {
          return yield* mistaken([{ path: "step", message: `expected a multiple of ${series.step / 1000}s up to 15m` }])
        }
        return series.report({ services: query.service, step, window: Math.min(window, series.window) })
      })
    })
  })
)
