/**
 * An OpenTelemetry collector on 127.0.0.1 that keeps what it is sent.
 */
import * as Effect from "effect/Effect"
import { createServer } from "node:http"

interface Attribute {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: number; readonly doubleValue?: number }
}

export interface Span {
  readonly name: string
  /** 2: server, 3: client. */
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly attributes: ReadonlyArray<Attribute>
  /** 1: fine, 2: error. */
  readonly status: { readonly code: number; readonly message?: string }
}

export interface Exported {
  readonly name: string
  readonly unit: string
  readonly sum?: { readonly isMonotonic: boolean; readonly dataPoints: ReadonlyArray<{ readonly asDouble?: number }> }
  readonly histogram?: { readonly dataPoints: ReadonlyArray<{ readonly explicitBounds: ReadonlyArray<number> }> }
}

export interface LogRecord {
  readonly severityText: string
  readonly body: { readonly stringValue?: string }
  readonly traceId?: string
  readonly spanId?: string
}

interface Body {
  readonly resourceSpans?: ReadonlyArray<
    { readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }> }
  >
  readonly resourceMetrics?: ReadonlyArray<{
    readonly resource: { readonly attributes: ReadonlyArray<Attribute> }
    readonly scopeMetrics: ReadonlyArray<{ readonly metrics: ReadonlyArray<Exported> }>
  }>
  readonly resourceLogs?: ReadonlyArray<{
    readonly scopeLogs: ReadonlyArray<{ readonly logRecords: ReadonlyArray<LogRecord> }>
  }>
}

export const attribute = (
  { attributes }: { readonly attributes: ReadonlyArray<Attribute> },
  name: string
): string | number | undefined => {
  const value = attributes.find(({ key }) => key === name)?.value
  return value?.stringValue ?? value?.intValue ?? value?.doubleValue
}

/** Listens until the scope closes. */
export const collector = (answer: "takes" | "hangs" | "refuses" = "takes") =>
  Effect.gen(function*() {
    const bodies: Array<Body> = []
    const headers: Array<string | undefined> = []
    const server = createServer((request, response) => {
      let text = ""
      request.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
      request.on("end", () => {
        const body: Body = JSON.parse(text)
        bodies.push(body)
        headers.push(request.headers["x-api-key"]?.toString() ?? request.headers.authorization)
        if (answer === "hangs") return
        response.writeHead(answer === "takes" ? 200 : 401, { "content-type": "application/json" }).end("{}")
      })
    })
    const port = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
        })
      }),
      () =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    )
    const newest = () => bodies.findLast(({ resourceMetrics }) => resourceMetrics !== undefined)?.resourceMetrics ?? []
    return {
      url: `http://127.0.0.1:${port}`,
      /** Of each export, what says who sends it. */
      headers,
      spans: () =>
        bodies.flatMap(({ resourceSpans = [] }) =>
          resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))
        ),
      /** As they were exported last. */
      metrics: () => newest().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics)),
      resource: () => newest()[0]?.resource.attributes ?? [],
      logs: () =>
        bodies.flatMap(({ resourceLogs = [] }) =>
          resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords))
        )
    }
  })
