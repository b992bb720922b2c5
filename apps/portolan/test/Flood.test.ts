/**
 * Much more than a client reads: what stands still for one client costs little memory, and harms nobody else.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http"
import { gateway, record, registry } from "./fleet.ts"
import { until } from "./process.ts"

const Notifications = 100_000
const Result = 20 * 1_048_576
/** MiB that the process may take more than before; what comes is many times that. */
const Room = 128

const log = `data: ${
  JSON.stringify({
    jsonrpc: "2.0",
    method: "notifications/message",
    params: { level: "info", data: "x".repeat(2_000) }
  })
}\n\n`

/** Done once more can be written, or never again. */
const writable = (response: ServerResponse) =>
  new Promise<void>((resolve) => {
    const done = () => {
      response.off("drain", done)
      response.off("close", done)
      resolve()
    }
    response.on("drain", done)
    response.on("close", done)
  })

interface Flood {
  readonly url: string
  /** Notifications written, those on the stream that belongs to no request included; and bursts that came to their end. */
  readonly figures: () => { readonly written: number; readonly ended: number; readonly streams: number }
  /** Writes a burst on the stream that belongs to no request. */
  readonly pour: () => Promise<void>
}

/** A server of the handshake era with the tools `burst` and `large`, which writes only as fast as it is read. */
const flood: Effect.Effect<Flood, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(async () => {
    let written = 0
    let ended = 0
    const streams = new Set<ServerResponse>()

    const burst = async (response: ServerResponse) => {
      for (let count = 0; count < Notifications && !response.destroyed; count++) {
        written++
        if (!response.write(log)) await writable(response)
      }
      ended++
    }

    const result = (method: string, name: string | undefined) => {
      switch (method) {
        case "initialize":
          return {
            protocolVersion: "2025-11-25",
            capabilities: { tools: {}, logging: {} },
            serverInfo: { name: "flood", version: "1.0.0" }
          }
        case "tools/list":
          return { tools: ["burst", "large", "small"].map((name) => ({ name, inputSchema: { type: "object" } })) }
        default:
          return { content: [{ type: "text", text: name === "large" ? "x".repeat(Result) : "small" }] }
      }
    }

    const answer = async (given: IncomingMessage, response: ServerResponse) => {
      if (given.method === "GET") {
        response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders()
        streams.add(response)
        response.on("close", () => streams.delete(response))
        return
      }
      let body = ""
      for await (const chunk of given) body += String(chunk)
      const { id, method, params } = body === "" ? {} : JSON.parse(body)
      if (id === undefined) return void response.writeHead(202).end()
      const reply = JSON.stringify({ jsonrpc: "2.0", id, result: result(method, params?.name) })
      if (params?.name !== "burst") {
        response.writeHead(200, { "content-type": "application/json", "mcp-session-id": "flood" }).end(reply)
        return
      }
      response.writeHead(200, { "content-type": "text/event-stream" })
      await burst(response)
      response.end(`data: ${reply}\n\n`)
    }

    const server = createServer((given, response) => {
      response.on("error", () => {})
      void answer(given, response).catch(() => response.destroy())
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    return {
      url: `http://127.0.0.1:${port}/mcp`,
      figures: () => ({ written, ended, streams: streams.size }),
      pour: async () => {
        for (const stream of streams) await burst(stream)
      },
      close: () => {
        server.closeAllConnections()
        server.close()
      }
    }
  }),
  ({ close }) => Effect.sync(close)
)

/** MiB, now and at most so far. */
const memory = (pid: number) => {
  const status = readFileSync(`/proc/${pid}/status`, "utf8")
  const of = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1_024
  return { now: of("VmRSS"), most: of("VmHWM") }
}

const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" }

/** Sends a request and answers its response, of which nothing has been read. */
const send = (url: string, method: "GET" | "POST", own: Readonly<Record<string, string>>, message?: object) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<IncomingMessage>((resolve, reject) => {
        const sent = request(url, { method, agent: false, headers: { ...headers, ...own } }, resolve)
        sent.on("error", reject)
        sent.end(message === undefined ? undefined : JSON.stringify({ jsonrpc: "2.0", id: 1, ...message }))
      })
    ),
    (response) => Effect.sync(() => response.destroy())
  ).pipe(Effect.tap((response) => Effect.sync(() => response.on("error", () => {}))))

const textOf = (response: IncomingMessage) =>
  Effect.promise(async () => {
    let text = ""
    for await (const chunk of response.setEncoding("utf8")) text += String(chunk)
    return text
  })

const call = (name: string) => ({ method: "tools/call", params: { name: `flood__${name}`, arguments: {} } })

const begin = (maxMessageSize: string) =>
  Effect.gen(function*() {
    const server = yield* flood
    const running = yield* gateway(
      { registries: [{ type: "file", path: "services.json" }], upstreams: { maxMessageSize } },
      { "services.json": registry({ ...record("flood", server.url), service: "flood" }) }
    )
    const url = `${running.url}/mcp`
    const opened = yield* send(url, "POST", {}, {
      method: "initialize",
      params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } }
    })
    yield* textOf(opened)
    const session = { "mcp-session-id": String(opened.headers["mcp-session-id"]), "mcp-protocol-version": "2025-11-25" }
    const ask = (name: string) => Effect.scoped(Effect.flatMap(send(url, "POST", session, call(name)), textOf))
    assert.include(yield* ask("small"), "small")
    return { server, running, url, session, ask }
  })

describe.skipIf(process.platform !== "linux")("memory", () => {
  it.live("100,000 notifications of a call whose client reads nothing, handshake era", () =>
    Effect.gen(function*() {
      const { ask, running, server, session, url } = yield* begin("16mb")
      const before = memory(running.pid)
      yield* send(url, "POST", session, call("burst"))
      yield* until(Effect.sync(() => server.figures().ended === 1), 60_000)
      assert.include(yield* ask("small"), "small")
      assert.isBelow(memory(running.pid).most - before.now, Room)
    }), 120_000)

  it.live("the same in the stateless era, where the end of the stream cancels the call", () =>
    Effect.gen(function*() {
      const { ask, running, server, url } = yield* begin("16mb")
      const before = memory(running.pid)
      const { method, params } = call("burst")
      const version = "2026-07-28"
      const _meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/logLevel": "info"
      }
      const own = { "mcp-protocol-version": version, "mcp-method": method, "mcp-name": params.name }
      yield* send(url, "POST", own, { method, params: { ...params, _meta } })
      yield* until(Effect.sync(() => server.figures().ended === 1), 60_000)
      assert.isBelow(server.figures().written, Notifications)
      assert.include(yield* ask("small"), "small")
      assert.isBelow(memory(running.pid).most - before.now, Room)
    }), 120_000)

  it.live("100,000 notifications that belong to no call, to a stream that nobody reads", () =>
    Effect.gen(function*() {
      const { ask, running, server, session, url } = yield* begin("16mb")
      yield* until(Effect.sync(() => server.figures().streams > 0), 30_000)
      yield* send(url, "GET", session)
      yield* Effect.promise(server.pour)
      const after = memory(running.pid).most
      yield* send(url, "GET", session)
      yield* Effect.promise(server.pour)
      assert.isAtLeast(server.figures().written, 2 * Notifications)
      assert.include(yield* ask("small"), "small")
      // What was held at most stays what is held at most: none is kept.
      assert.isBelow(memory(running.pid).most - after, Room)
    }), 120_000)

  it.live("results of 20 MB: refused above the limit, carried below it, and not kept", () =>
    Effect.gen(function*() {
      const small = yield* begin("16mb")
      const before = memory(small.running.pid)
      for (let times = 0; times < 5; times++) assert.include(yield* small.ask("large"), "longer than 16777216 bytes")
      assert.include(yield* small.ask("small"), "small")
      assert.isBelow(memory(small.running.pid).most - before.now, Room)

      const { ask, running } = yield* begin("32mb")
      for (let times = 0; times < 3; times++) assert.isAbove((yield* ask("large")).length, Result)
      const after = memory(running.pid).most
      for (let times = 0; times < 9; times++) assert.isAbove((yield* ask("large")).length, Result)
      assert.isBelow(memory(running.pid).most - after, Room)
    }), 180_000)

  it.live(
    "results of 20 MB that nobody reads: those that wait longest are cut, whoever reads gets all",
    () =>
      Effect.gen(function*() {
        const { ask, running, session, url } = yield* begin("32mb")
        const before = memory(running.pid)
        const sent = yield* Effect.forEach(
          Array.from({ length: 30 }, (_, id) => id),
          (id) => send(url, "POST", session, { ...call("large"), id })
        )
        assert.isAbove((yield* ask("large")).length, Result)
        // What is held of a result, as text and as bytes, is some times as long as it is.
        assert.isBelow(memory(running.pid).most - before.now, 4 * Room)
        const first = yield* Effect.promise(() =>
          new Promise<Error | undefined>((resolve) => {
            const [oldest] = sent
            oldest?.on("error", resolve).on("end", () => resolve(undefined)).resume()
          })
        )
        assert.include(first?.message, "aborted")
      }),
    120_000
  )
})
