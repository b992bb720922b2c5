/**
 * Sends the events of `Events` to addresses of others, as Standard Webhooks.
 *
 * **Mental model**: a webhook is a watcher of the event feed that posts what it reads, one event after the other. While a
 * delivery is tried again nothing is read, so a receiver that is away holds no memory: what it missed for too long is
 * made up for by one `snapshot`.
 *
 * **Details**: the body is `{"type", "timestamp", "data"}`, where `type` is `catalog`, `health`, `sources` or `snapshot`
 * and `data` is as the event stream has it. `webhook-id` stays the same when a delivery is tried again. Answers but 2xx
 * are failures; those that a receiver means (4xx but 408 and 429) are not tried again. Redirects are not followed.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as FiberMap from "effect/FiberMap"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { createHmac } from "node:crypto"
import { EventFeed } from "./EventFeed.ts"
import { type Topic, WebhookTopic } from "./Events.ts"

/**
 * An address that is told of events.
 *
 * @category models
 * @since 0.1.0
 */
export interface Webhook {
  readonly url: string
  /** Default: all. */
  readonly topics?: ReadonlyArray<WebhookTopic> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Signs each delivery: a text, or bytes as `whsec_` and base64. */
  readonly secret?: string | undefined
}

/**
 * Service that keeps the webhooks.
 *
 * @category services
 * @since 0.1.0
 */
export class Webhooks extends Context.Service<Webhooks, {
  /** Replaces all of them; those that stay go on where they are. */
  readonly reconfigure: (webhooks: ReadonlyArray<Webhook>) => Effect.Effect<void>
}>()("@portolan/gateway/rest/Webhooks") {}

/** Error raised when a delivery failed: one line, without the address, which may hold a token. */
class DeliveryError extends Schema.TaggedError<DeliveryError>()("DeliveryError", {
  reason: Schema.String,
  /** Whether it may succeed if it is tried again. */
  temporary: Schema.Boolean
}) {}

/** Longest that a receiver may take. */
const deliveryTimeout = Duration.seconds(10)
/** Half a second, doubled up to a minute, moved at random: about three minutes in all. */
const attempts = Schedule.exponential("500 millis").pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.minutes(1)))),
  Schedule.jittered,
  Schedule.upTo({ times: 9 })
)
/** Before a webhook that has no place in the feed asks for one again. */
const placeInterval = Duration.seconds(10)

/** Where it goes, for the log. */
const placeOf = ({ url }: Webhook): string => {
  const { origin, pathname } = new URL(url)
  return `${origin}${pathname}`
}

const keyOf = (secret: string): Buffer =>
  secret.startsWith("whsec_") ? Buffer.from(secret.slice("whsec_".length), "base64") : Buffer.from(secret)

/**
 * The headers of a delivery: its id, its time in seconds, and its signature where there is a secret.
 *
 * @category signing
 * @since 0.1.0
 */
export const sign = (
  body: string,
  options: { readonly id: string; readonly timestamp: number; readonly secret?: string | undefined }
): Readonly<Record<string, string>> => {
  const { id, secret, timestamp } = options
  const headers = { "webhook-id": id, "webhook-timestamp": String(timestamp) }
  if (secret === undefined) return headers
  const digest = createHmac("sha256", keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest("base64")
  return { ...headers, "webhook-signature": `v1,${digest}` }
}

/**
 * Layer that tells webhooks of events, for as long as it lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (webhooks: ReadonlyArray<Webhook> = []): Layer.Layer<Webhooks, never, EventFeed> =>
  Layer.effect(
    Webhooks,
    Effect.gen(function*() {
      const feed = yield* EventFeed
      const client = yield* HttpClient.HttpClient
      const fibers = yield* FiberMap.make<string>()

      const deliver = Effect.fnUntraced(
        function*(webhook: Webhook, event: { readonly type: string; readonly id: string; readonly data: string }) {
          const now = yield* Clock.currentTimeMillis
          const timestamp = JSON.stringify(new Date(now).toISOString())
          const body = `{"type":"${event.type}","timestamp":${timestamp},"data":${event.data}}`
          const id = `msg_${event.id}`
          const post = Effect.gen(function*() {
            const at = Math.floor((yield* Clock.currentTimeMillis) / 1000)
            const request = HttpClientRequest.post(webhook.url, {
              headers: { ...webhook.headers, ...sign(body, { id, timestamp: at, secret: webhook.secret }) }
            }).pipe(HttpClientRequest.bodyText(body, "application/json"))
            const { status } = yield* client.execute(request).pipe(
              Effect.mapError(({ reason }) => new DeliveryError({ reason: reason._tag, temporary: true })),
              Effect.timeoutOrElse({
                duration: deliveryTimeout,
                orElse: () => Effect.fail(new DeliveryError({ reason: "no answer in time", temporary: true }))
              })
            )
            if (status >= 200 && status < 300) return
            const temporary = status >= 500 || status === 408 || status === 429
            return yield* new DeliveryError({ reason: `HTTP ${status}`, temporary })
          })
          yield* post.pipe(
            Effect.scoped,
            Effect.retry({ schedule: attempts, while: ({ temporary }) => temporary }),
            Effect.catch(({ reason }) =>
              Effect.logWarning(`webhook ${placeOf(webhook)}: an event of type ${event.type} is given up: ${reason}`)
            )
          )
        }
      )

      const tell = (webhook: Webhook) =>
        Effect.gen(function*() {
          const topics = new Set<Topic>(webhook.topics ?? WebhookTopic.literals)
          const read: Array<Sse.Event> = []
          const parser = Sse.makeParser((event) => {
            if (event._tag === "Event") read.push(event)
          })
          // Where it begins is nothing new; after a gap it is.
          let missed = false
          const events = (text: string) => {
            parser.feed(text)
            return read.splice(0).flatMap(({ data, event, id = "" }) => {
              if (event === "resync") missed = true
              if (event === "beat" || event === "resync" || event === "snapshot" && !missed) return []
              if (event === "snapshot") missed = false
              return [{ type: event, id, data }]
            })
          }
          yield* (yield* feed.open({ topics })).pipe(
            Stream.decodeText(),
            Stream.flatMap((text) => Stream.fromIterable(events(text))),
            Stream.runForEach((event) => deliver(webhook, event))
          )
        }).pipe(
          Effect.catchTag("Overloaded", ({ detail }) =>
            Effect.andThen(
              Effect.logWarning(`webhook ${placeOf(webhook)}: ${detail}`),
              Effect.sleep(placeInterval)
            )),
          Effect.forever
        )

      const reconfigure = Effect.fnUntraced(function*(webhooks: ReadonlyArray<Webhook>) {
        const wanted = new Map(webhooks.map((webhook) => [JSON.stringify(webhook), webhook]))
        for (const [key] of Array.from(fibers)) if (!wanted.has(key)) yield* FiberMap.remove(fibers, key)
        for (const [key, webhook] of wanted) {
          if (!FiberMap.hasUnsafe(fibers, key)) yield* FiberMap.run(fibers, key, tell(webhook))
        }
      })
      yield* reconfigure(webhooks)
      return Webhooks.of({ reconfigure })
    })
  ).pipe(
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(Layer.succeed(FetchHttpClient.RequestInit, { redirect: "manual" }))
  )
