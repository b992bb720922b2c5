/**
 * Effect's OTLP exporters, with a client that bears any collector.
 */
import * as Effect from "effect/Effect"
import { flow } from "effect/Function"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"

/** ms that the collector may take. */
const ExportTime = 10_000
/** Exports under way at the same time, of all three kinds; those beyond are dropped. */
const MaxExports = 6

/** In the words of the system where there are any: never the address, which may hold a token. */
const reasonOf = ({ reason }: HttpClientError.HttpClientError): string => {
  if ("description" in reason && reason.description !== undefined) return reason.description
  let cause = "cause" in reason ? reason.cause : undefined
  while (cause instanceof Error && cause.cause !== undefined) cause = cause.cause
  return cause instanceof Error ? cause.message : reason._tag
}

/**
 * A client that neither waits for ever nor piles up, whatever the collector does, and says once that it fails.
 */
const collectorClient = Layer.effect(
  HttpClient.HttpClient,
  Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient
    let underWay = 0
    /** Addresses that fail, and were told of. */
    const failing = new Set<string>()
    const tell = (url: string, reason: string) =>
      Effect.suspend(() => {
        if (failing.has(url)) return Effect.void
        failing.add(url)
        const { origin, pathname } = new URL(url)
        return Effect.logWarning(`telemetry is not exported to ${origin}${pathname}: ${reason}`)
      })
    return HttpClient.transform(client, (send, request) => {
      const failed = (description: string) =>
        Effect.fail(
          new HttpClientError.HttpClientError({
            reason: new HttpClientError.TransportError({ request, description })
          })
        )
      return Effect.suspend(() => {
        if (underWay >= MaxExports) return failed("too many exports under way")
        underWay++
        return send.pipe(
          Effect.timeoutOrElse({ duration: ExportTime, orElse: () => failed(`no answer within ${ExportTime} ms`) }),
          Effect.ensuring(Effect.sync(() => underWay--))
        )
      }).pipe(
        Effect.tap(({ status }) => {
          if (status >= 400) return tell(request.url, `HTTP ${status}`)
          failing.delete(request.url)
          return Effect.void
        }),
        Effect.tapError((error) => tell(request.url, reasonOf(error)))
      )
    })
  })
).pipe(Layer.provide(FetchHttpClient.layer))

/** REST, probes and scrapes are in no trace: they would be most of it, and carry headers. */
const restUntraced = Layer.succeed(HttpMiddleware.TracerDisabledWhen, () => true)

/** Exports metrics, traces and logs. */
export const layer = flow(Otlp.layerJson, Layer.provide(collectorClient), Layer.merge(restUntraced))
