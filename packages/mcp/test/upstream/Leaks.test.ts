import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import * as Harness from "./Harness.ts"
import * as Servers from "./Servers.ts"

const hostile = fileURLToPath(new URL("./fixtures/hostile.mjs", import.meta.url))

/** What the event loop still holds of the kinds that upstreams use, by kind. */
const held = () => {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) {
    if (/Pipe|Process|TCPSocket|Timeout/.test(kind)) counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

const round = (url: string, refused: string) =>
  Harness.withUpstreams([
    {
      id: "child",
      service: "child",
      endpoint: { transport: "stdio", command: process.execPath, args: [hostile, "good"] }
    },
    {
      id: "exit",
      service: "exit",
      endpoint: { transport: "stdio", command: process.execPath, args: [hostile, "exit"] }
    },
    { id: "http", service: "http", endpoint: { transport: "streamable-http", url } },
    { id: "refused", service: "refused", endpoint: { transport: "streamable-http", url: refused } }
  ], ({ get, until }) =>
    Effect.gen(function*() {
      for (const id of ["child", "http"]) {
        assert.isTrue("result" in (yield* (yield* get(id)).request({ method: "tools/list" })))
      }
      for (const id of ["exit", "refused"]) {
        yield* until(`${id} failed`, (event) => event._tag === "Failed" && event.upstream.key === Harness.keyOf(id))
      }
    }))

describe("leaks", () => {
  it.live("nothing is left of upstreams: no child, no pipe, no socket, no timer", () =>
    Effect.gen(function*() {
      const { url } = yield* Servers.listen(Servers.sessionful().handler)
      const refused = yield* Effect.scoped(Effect.map(Servers.listen(() => {}), (running) => running.url))
      // Once before, for what libraries keep for good.
      yield* round(url, refused)
      yield* Effect.sleep("500 millis")
      const before = held()
      for (let n = 0; n < 3; n++) yield* round(url, refused)
      // Harness.eventually has a timer of its own.
      const same = () => {
        const now = held()
        return Object.entries(now).every(([kind, count]) => count <= (before[kind] ?? 0) + (kind === "Timeout" ? 1 : 0))
      }
      yield* Harness.eventually(`what there was before: ${JSON.stringify(before)}`, () => same() || undefined, 1_500)
        .pipe(
          Effect.ensuring(Effect.sync(() => same() || console.log("left", held())))
        )
    }), 60_000)
})
