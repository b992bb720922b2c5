/**
 * `watch`: what it says of events, and how it comes back after a lost connection.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http"
import { background, portolan, until } from "./process.ts"

interface Stream {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly send: (event: string, data: object, id?: string) => void
  readonly drop: () => void
}

/** A gateway that sends what the test says. */
const scripted: Effect.Effect<
  { readonly url: string; readonly streams: ReadonlyArray<Stream>; readonly refuse: (status: number) => void },
  never,
  Scope.Scope
> = Effect.acquireRelease(
  Effect.callback<
    {
      readonly url: string
      readonly streams: Array<Stream>
      readonly refuse: (status: number) => void
      readonly close: () => void
    }
  >(
    (resume) => {
      const streams: Array<Stream> = []
      let refused = 0
      const server = createServer((request, response: ServerResponse) => {
        if (refused !== 0) {
          response.writeHead(refused, { "content-type": "application/problem+json" })
          return response.end(JSON.stringify({ title: "Refused", status: refused, detail: "not for you" }))
        }
        response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders()
        streams.push({
          path: request.url ?? "",
          headers: request.headers,
          send: (event, data, id) =>
            response.write(
              `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
            ),
          drop: () => response.destroy()
        })
      }).listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed({
          url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
          streams,
          refuse: (status) => {
            refused = status
          },
          close: () => {
            server.close()
            server.closeAllConnections()
          }
        }))
      })
    }
  ),
  ({ close }) => Effect.sync(close)
)

const at = "2026-01-02T03:04:05.000Z"
const health = (status: string, reason = "") => ({ status, score: 1, reason, changedAt: at })
const instance = (id: string, more: object = {}) => ({
  id,
  service: "weather",
  version: "1.4.0",
  source: "dc1",
  alsoIn: [],
  stale: false,
  health: health("healthy"),
  ...more
})
const source = (state: string, more: object = {}) => ({
  name: "dc1",
  type: "consul",
  state,
  since: at,
  instances: 1,
  rejected: [],
  reconnects: 0,
  held: 0,
  ...more
})
const identity = { id: "weather-1", service: "weather", source: "dc1" }

const watching = (...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const gateway = yield* scripted
    const running = yield* background(["watch", "--url", gateway.url, ...args])
    const stream = (count: number) =>
      Effect.gen(function*() {
        yield* until(Effect.sync(() => gateway.streams.length >= count), 20_000)
        return gateway.streams[count - 1] ?? assert.fail("no stream")
      })
    const said = (words: string) => until(Effect.sync(() => running.out().includes(words)), 10_000)
    /** The lines without their times. */
    const lines = () =>
      running.out().trimEnd().split("\n").map((line) => {
        assert.match(line, /^\d\d:\d\d:\d\d {2}/)
        return line.slice(10)
      })
    return { ...running, gateway, stream, said, lines }
  })

describe("watch", () => {
  it.live("has a line for each change", () =>
    Effect.gen(function*() {
      const watch = yield* watching()
      const { headers, path, send } = yield* watch.stream(1)
      assert.strictEqual(path, "/api/v1/events?topics=catalog,health,sources")
      assert.isUndefined(headers["last-event-id"])
      send("snapshot", { at, revision: "1", catalog: [instance("weather-1")], sources: [source("connected")] }, "1")
      send("beat", { at, revision: "1" })
      send("catalog", {
        at,
        changes: [
          { type: "added", instance: instance("weather-7c9f") },
          { type: "updated", instance: instance("weather-1", { version: "1.5.0", tags: ["a\u001b[2Jb"] }) },
          // Nothing that a person would see.
          { type: "updated", instance: instance("weather-1", { version: "1.5.0", tags: ["a\u001b[2Jb"] }) }
        ]
      }, "2")
      const unhealthy = health("unhealthy", "3 time-outs\u0007in a row")
      send("health", { at, changes: [{ ...identity, previous: "healthy", health: unhealthy }] }, "3")
      send("sources", { at, changed: [source("stale", { error: "ECONNREFUSED" })], removed: ["eu"] }, "4")
      send("unheard-of", { at }, "5")
      send("catalog", { at, changes: [{ type: "removed", ...identity }] }, "6")
      yield* watch.said("- weather-1")
      assert.deepStrictEqual(
        watch.lines(),
        [
          "watching: 1 instance, 1 source",
          "+ weather-7c9f  weather 1.4.0  dc1",
          "~ weather-1  weather  dc1  changed: version, tags",
          "~ weather-1  weather  healthy → unhealthy: 3 time-outs in a row ",
          "* dc1  consul  connected → stale: ECONNREFUSED",
          "- weather-1  weather  dc1"
        ].map((line) => line.trimEnd())
      )
      watch.kill("SIGINT")
      assert.deepInclude(yield* watch.ended, { code: 0, stderr: "" })
    }), 120_000)

  it.live(
    "comes back after a lost connection, from where it was, and tells what it missed",
    () =>
      Effect.gen(function*() {
        const watch = yield* watching()
        const first = yield* watch.stream(1)
        const catalog = [instance("weather-1"), instance("weather-2")]
        const statuses = catalog.map((each) => ({ ...identity, id: each.id, health: each.health }))
        first.send("snapshot", { at, revision: "1", catalog, health: statuses, sources: [] }, "17")
        yield* watch.said("watching")
        first.drop()
        const second = yield* watch.stream(2)
        assert.strictEqual(second.headers["last-event-id"], "17")
        second.send("resync", { reason: "too long ago" })
        second.send("snapshot", {
          at,
          revision: "40",
          catalog: [instance("weather-2"), instance("weather-3")],
          health: [{ ...identity, id: "weather-2", health: health("down", "marked") }, {
            ...identity,
            id: "weather-3",
            health: health("healthy")
          }],
          sources: []
        }, "40")
        yield* watch.said("down")
        assert.deepStrictEqual(watch.lines(), [
          "watching: 2 instances, 0 sources",
          "- weather-1  weather  dc1",
          "+ weather-3  weather 1.4.0  dc1",
          "~ weather-2  weather  healthy → down: marked"
        ])
        assert.match(watch.err(), /^connection lost \(.*\); trying again\nconnected again\n$/)
        watch.kill("SIGTERM")
        assert.strictEqual((yield* watch.ended).code, 0)
      }),
    60_000
  )

  it.live("prints events one a line for programs, without beats", () =>
    Effect.gen(function*() {
      const watch = yield* watching("--json", "--topics", "catalog, figures")
      const { path, send } = yield* watch.stream(1)
      assert.strictEqual(path, "/api/v1/events?topics=catalog,figures")
      send("beat", { at, revision: "1" })
      send("catalog", { at, changes: [{ type: "removed", ...identity }] }, "6")
      yield* watch.said("\n")
      assert.deepStrictEqual(JSON.parse(watch.out()), {
        event: "catalog",
        id: "6",
        data: { at, changes: [{ type: "removed", ...identity }] }
      })
    }), 120_000)

  it.live("ends where it is refused, or where nobody is in the first place", () =>
    Effect.gen(function*() {
      const gateway = yield* scripted
      gateway.refuse(403)
      assert.deepInclude(yield* portolan(["watch", "--url", gateway.url]), {
        code: 1,
        stdout: "",
        stderr: "not for you\n"
      })
      const nobody = yield* portolan(["watch", "--url", "http://127.0.0.1:1"])
      assert.strictEqual(nobody.code, 1)
      assert.match(nobody.stderr, /^no gateway answers at /)
      const topics = yield* portolan(["watch", "--topics", "catalog,helth"])
      assert.deepStrictEqual([topics.code, topics.stderr], [
        2,
        "--topics: expected catalog, health, figures, sources, got \"helth\"; did you mean \"health\"?\n"
      ])
    }), 120_000)
})
