import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Option, Tracer } from "effect"
import * as Fleet from "./Fleet.ts"

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
const traceparent = (spanId: string, flags = "01") => `00-${traceId}-${spanId}-${flags}`
const inMeta = "00f067aa0ba902b7"
const inHeader = "b7ad6b7169203331"
const eras = ["handshake", "stateless"] as const

const keys = ["traceparent", "tracestate", "baggage"] as const
const contextOf = (fields: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(keys.flatMap((key) => fields[key] === undefined ? [] : [[key, fields[key]]]))

const isHttp = (service: string): boolean => service.startsWith("http")

/** A tracer that is everybody's default, and counts. */
const counting = () => {
  let made = 0
  const original = Tracer.nativeTracer.span
  return Effect.acquireRelease(
    Effect.sync(() => {
      Tracer.nativeTracer.span = function(options) {
        made++
        return original.call(this, options)
      }
      return () => made
    }),
    () =>
      Effect.sync(() => {
        Tracer.nativeTracer.span = original
      })
  )
}

describe("trace context where nobody listens", () => {
  it.live("reaches every server as it came, both ways, and no span is made", () =>
    Effect.gen(function*() {
      const made = yield* counting()
      const { call, seen } = yield* Fleet.fleet
      const both = { traceparent: traceparent(inMeta), tracestate: "rojo=1,congo=t61", baggage: "user=ann" }
      for (const service of Fleet.services) {
        for (const era of eras) {
          const what = `${era} client, ${service}`
          const viaMeta = seen(yield* call(era, `${service}__context`, { meta: both }))
          assert.deepStrictEqual(contextOf(viaMeta.meta), both, what)
          if (isHttp(service)) assert.deepStrictEqual(contextOf(viaMeta.headers), both, what)

          const viaHeader = seen(yield* call(era, `${service}__context`, { headers: both }))
          assert.deepStrictEqual(contextOf(viaHeader.meta), both, what)
          if (isHttp(service)) assert.deepStrictEqual(contextOf(viaHeader.headers), both, what)

          const none = seen(yield* call(era, `${service}__context`))
          assert.deepStrictEqual(contextOf(none.meta), {}, what)
          assert.deepStrictEqual(contextOf(none.headers), {}, what)
        }
      }
      assert.strictEqual(made(), 0)
    }), 60_000)

  it.live("each way keeps its own where both are given; a state goes with its parent", () =>
    Effect.gen(function*() {
      const { call, seen } = yield* Fleet.fleet
      const { headers, meta } = seen(
        yield* call("stateless", "http-stateless__context", {
          meta: { traceparent: traceparent(inMeta) },
          headers: { traceparent: traceparent(inHeader), tracestate: "a=1", baggage: "k=v" }
        })
      )
      assert.deepStrictEqual(contextOf(meta), { traceparent: traceparent(inMeta), baggage: "k=v" })
      assert.deepStrictEqual(contextOf(headers), {
        traceparent: traceparent(inHeader),
        tracestate: "a=1",
        baggage: "k=v"
      })
    }))

  it.live("what is malformed gets into no header", () =>
    Effect.gen(function*() {
      const { call, seen } = yield* Fleet.fleet
      for (
        const wrong of [
          "x",
          "",
          7,
          { a: 1 },
          `${traceparent(inMeta)}\r\nx-evil: 1`,
          "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
          "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
          traceparent(inMeta).toUpperCase()
        ]
      ) {
        const meta = { traceparent: wrong, tracestate: "a=1", baggage: "b=\n" }
        const { headers } = seen(yield* call("stateless", "http-stateless__context", { meta }))
        assert.deepStrictEqual(contextOf(headers), {}, JSON.stringify(wrong))
        assert.notProperty(headers, "x-evil")
      }
    }))
})

describe("spans", () => {
  it.live(
    "a server span per request under the client's, a client span per attempt under that, the server under both",
    () => {
      const { layer, spans } = Fleet.tracer()
      return Effect.gen(function*() {
        const { call, seen } = yield* Fleet.fleet
        for (const service of Fleet.services) {
          for (const era of eras) {
            spans.length = 0
            const what = `${era} client, ${service}`
            const { headers, meta } = seen(
              yield* call(era, `${service}__context`, {
                meta: { traceparent: traceparent(inMeta), tracestate: "rojo=1" },
                headers: { traceparent: traceparent(inHeader) }
              })
            )
            assert.deepStrictEqual(spans.map(({ kind, name }) => [kind, name]), [
              ["server", `tools/call ${service}__context`],
              ["client", "tools/call context"]
            ], what)
            const [server, client] = spans
            assert.isDefined(server)
            assert.isDefined(client)
            assert.strictEqual(server.traceId, traceId)
            assert.strictEqual(Option.getOrThrow(server.parent).spanId, inMeta, what)
            assert.strictEqual(server.links[0]?.span.spanId, inHeader, what)
            assert.strictEqual(Option.getOrThrow(client.parent).spanId, server.spanId, what)
            const sent = { traceparent: traceparent(client.spanId), tracestate: "rojo=1" }
            assert.deepStrictEqual(contextOf(meta), sent, what)
            if (isHttp(service)) assert.deepStrictEqual(contextOf(headers), sent, what)

            assert.include(Object.fromEntries(server.attributes), {
              "mcp.method.name": "tools/call",
              "gen_ai.tool.name": `${service}__context`,
              "gen_ai.operation.name": "execute_tool",
              "mcp.protocol.version": era === "stateless" ? "2026-07-28" : "2025-11-25",
              "network.transport": "tcp",
              "portolan.service": service,
              "portolan.instance": `${service}-1`,
              "portolan.strategy": "peak-ewma",
              "portolan.failovers": 0
            })
            assert.include(Object.fromEntries(client.attributes), {
              "mcp.method.name": "tools/call",
              "gen_ai.tool.name": "context",
              "mcp.protocol.version": service.endsWith("stateless") ? "2026-07-28" : "2025-11-25",
              "network.transport": isHttp(service) ? "tcp" : "pipe",
              "portolan.service": service,
              "portolan.instance": `${service}-1`
            })
            assert.strictEqual(server.attributes.has("error.type"), false)
            for (const span of spans) assert.strictEqual(span.status._tag, "Ended")
          }
        }
      }).pipe(Effect.provide(layer))
    },
    60_000
  )

  it.live("tell of clients on standard input and output, and of the beginning of sessions", () => {
    const { layer, spans } = Fleet.tracer()
    return Effect.gen(function*() {
      const { connect } = yield* Fleet.fleet
      const ended = new Set<() => void>()
      const downstream = connect(
        { send: () => ended.forEach((wake) => wake()), notify: () => {}, end: () => {} },
        { stateless: true, transport: "pipe" }
      )
      spans.length = 0
      yield* Effect.callback<void>((resume) => {
        ended.add(() => resume(Effect.void))
        downstream.receive({
          jsonrpc: "2.0",
          id: 7,
          method: "initialize",
          params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } }
        })
      })
      assert.deepStrictEqual(spans.map(({ name }) => name), ["initialize"])
      assert.include(Object.fromEntries(spans[0]?.attributes ?? []), {
        "mcp.method.name": "initialize",
        "mcp.protocol.version": "2025-06-18",
        "network.transport": "pipe",
        "jsonrpc.request.id": "7"
      })
      downstream.close()
    }).pipe(Effect.provide(layer))
  })

  it.live("begin a trace where the client has none, and are not sampled where its isn't", () => {
    const { layer, spans } = Fleet.tracer()
    return Effect.gen(function*() {
      const { call, seen } = yield* Fleet.fleet
      spans.length = 0
      const alone = seen(yield* call("stateless", "http-stateless__context"))
      assert.isTrue(Option.isNone(spans[0]!.parent))
      assert.strictEqual(alone.meta["traceparent"], `00-${spans[0]?.traceId}-${spans[1]?.spanId}-01`)

      spans.length = 0
      const unsampled = seen(
        yield* call("stateless", "http-stateless__context", { headers: { traceparent: traceparent(inHeader, "00") } })
      )
      assert.deepStrictEqual(spans.map(({ sampled }) => sampled), [false, false])
      assert.strictEqual(unsampled.headers["traceparent"], traceparent(spans[1]!.spanId, "00"))
    }).pipe(Effect.provide(layer))
  })

  it.live("tell of errors: of tools, of the protocol, and of what never came", () => {
    const { layer, spans } = Fleet.tracer()
    return Effect.gen(function*() {
      const { call } = yield* Fleet.fleet
      const ended = (span: Fleet.Made | undefined) => {
        assert.isDefined(span)
        const cause = Fleet.causeOf(span)
        return [
          span.attributes.get("error.type"),
          span.attributes.get("rpc.response.status_code"),
          cause === undefined ? undefined : Cause.prettyErrors(cause)[0]?.message
        ]
      }
      spans.length = 0
      yield* call("stateless", "http-stateless__fail")
      assert.deepStrictEqual(spans.map(ended), [["tool_error", undefined, "tool_error"], [
        "tool_error",
        undefined,
        "tool_error"
      ]])

      spans.length = 0
      const evil = `evil-${"x".repeat(50)}`
      yield* call("handshake", evil)
      assert.deepStrictEqual(spans.map(({ name }) => name), ["tools/call"])
      assert.deepStrictEqual(ended(spans[0]).slice(0, 2), ["-32602", "-32602"])
      assert.strictEqual(spans[0]?.attributes.get("gen_ai.tool.name"), undefined)
    }).pipe(Effect.provide(layer))
  })
})
