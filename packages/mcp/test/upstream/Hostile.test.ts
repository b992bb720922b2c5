import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import * as Harness from "./Harness.ts"
import * as Processes from "./Processes.ts"

const hostile = fileURLToPath(new URL("./fixtures/hostile.mjs", import.meta.url))

const child = (
  mode: string,
  more: { readonly args?: ReadonlyArray<string>; readonly env?: Harness.Env } = {}
): Harness.Input => ({
  id: mode,
  service: mode,
  endpoint: {
    transport: "stdio",
    command: process.execPath,
    args: [hostile, mode, ...more.args ?? []],
    env: more.env ?? {}
  }
})

const structured = (reply: unknown): Record<string, unknown> => {
  const { result } = reply as { result: { structuredContent: Record<string, unknown> } }
  return result.structuredContent
}

const call = (name: string) => ({ method: "tools/call", params: { name, arguments: {} } })

describe("bad children", () => {
  it.live("one that ends at once says why, and is tried again", () =>
    Harness.withUpstreams([child("exit")], ({ get, seen, until }) =>
      Effect.gen(function*() {
        const failed = yield* until("failed", (event) => event._tag === "Failed")
        assert.strictEqual(
          failed._tag === "Failed" && failed.reason,
          "exited with code 3: Cannot find module 'left-pad'"
        )
        const upstream = yield* get("exit")
        const error = yield* Effect.flip(upstream.request(call("x")))
        assert.strictEqual(error.phase, "notSent")
        assert.strictEqual(error.message, "exit: exited with code 3: Cannot find module 'left-pad'")
        // Nothing changed, so nothing is told again.
        yield* Effect.sleep("1 second")
        assert.strictEqual(seen.filter((event) => event._tag === "Failed").length, 1)
      })))

  it.live("a command that doesn't exist is named", () =>
    Harness.withUpstreams([{
      id: "none",
      service: "none",
      endpoint: { transport: "stdio", command: "portolan-no-such-command" }
    }], ({ until }) =>
      Effect.gen(function*() {
        const failed = yield* until("failed", (event) => event._tag === "Failed")
        assert.strictEqual(failed._tag === "Failed" && failed.reason, "command not found: portolan-no-such-command")
      })))

  it.live("one that hangs at start fails in time and holds up nobody", () =>
    Harness.withUpstreams([child("hang"), child("good")], ({ get, until }) =>
      Effect.gen(function*() {
        assert.isTrue("result" in (yield* (yield* get("good")).request(call("x"))))
        yield* until("hang failed", (event) =>
          event._tag === "Failed" && event.reason.includes("no answer to the handshake"))
        const error = yield* Effect.flip((yield* get("hang")).request(call("x")))
        assert.strictEqual(error.phase, "notSent")
      }), { connectTimeout: "2 seconds", probeTimeout: "500 millis" }))

  it.live("a flood on stderr neither blocks it nor fills the memory", () =>
    Harness.withUpstreams([child("flood")], ({ get }) =>
      Effect.gen(function*() {
        const before = process.memoryUsage().rss
        const upstream = yield* get("flood")
        for (let n = 0; n < 20; n++) assert.isTrue("result" in (yield* upstream.request(call("x"))))
        assert.isBelow(process.memoryUsage().rss - before, 150_000_000)
      }), { connectTimeout: "30 seconds", probeTimeout: "15 seconds" }))

  it.live("garbage and wrong ids are passed over", () =>
    Harness.withUpstreams([child("garbage"), child("wrong-ids")], ({ get }) =>
      Effect.gen(function*() {
        for (const id of ["garbage", "wrong-ids"]) {
          const reply = yield* (yield* get(id)).request(call("x"))
          assert.deepStrictEqual(reply, { result: { content: [] } })
        }
      })))

  it.live("a reply that is too long fails its call, and only that", () =>
    Harness.withUpstreams([child("good")], ({ get }) =>
      Effect.gen(function*() {
        const upstream = yield* get("good")
        const error = yield* Effect.flip(upstream.request(call("huge")))
        assert.deepInclude(error, {
          phase: "answered",
          reason: "the reply is longer than 1000000 bytes",
          tooLong: true
        })
        assert.isTrue("result" in (yield* upstream.request(call("x"))))
      }), { maxMessageSize: 1_000_000 }))

  it.live("one that ends at the probe is asked in the old way", () =>
    Harness.withUpstreams([child("ends-at-probe")], ({ get }) =>
      Effect.gen(function*() {
        const upstream = yield* get("ends-at-probe")
        assert.strictEqual((yield* upstream.connect).protocolVersion, "2025-06-18")
      })))

  it.live("one that is silent to the probe for too long is asked in the old way", () =>
    Harness.withUpstreams([child("slow", { args: ["1500"] })], ({ get }) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* (yield* get("slow")).connect).era, "handshake")
      }), { probeTimeout: "200 millis" }))

  it.live("a version nobody knows is refused by name", () =>
    Harness.withUpstreams([child("future")], ({ until }) =>
      Effect.gen(function*() {
        const failed = yield* until("failed", (event) => event._tag === "Failed")
        assert.strictEqual(
          failed._tag === "Failed" && failed.reason,
          "no protocol version in common: the server speaks 2031-01-01"
        )
      })))

  it.live("an exit amid a call may have run it; the server is started again", () =>
    Harness.withUpstreams([child("good")], ({ get, seen, until }) =>
      Effect.gen(function*() {
        const upstream = yield* get("good")
        yield* upstream.connect
        const error = yield* Effect.flip(upstream.request(call("exit")))
        assert.deepStrictEqual([error.phase, error.reason], ["mayHaveRun", "exited with code 7: giving up"])
        yield* until("failed", (event) => event._tag === "Failed")
        yield* until(
          "connected again",
          (event) => event._tag === "Connected",
          seen.findIndex((event) => event._tag === "Failed")
        )
        assert.isTrue("result" in (yield* upstream.request(call("x"))))
      })))

  it.live("requests of the server are answered; a cancelled call tells it", () =>
    Harness.withUpstreams([child("good")], ({ get, until }) =>
      Effect.gen(function*() {
        const upstream = yield* get("good")
        const { answers } = structured(yield* upstream.request(call("ask")))
        assert.deepStrictEqual(answers, [
          {
            jsonrpc: "2.0",
            id: "s1",
            error: { code: -32601, message: "sampling/createMessage is not supported by this client" }
          },
          { jsonrpc: "2.0", id: "s2", result: {} }
        ])
        const fiber = yield* Effect.forkChild(upstream.request(call("never")), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        yield* until("told", (event) =>
          event._tag === "Notified" && typeof event.notification.params?.["cancelled"] === "number")
      })))

  it.live("a flood of notifications costs a slow subscriber no memory, and it is told to read anew", () =>
    Harness.withUpstreams([child("good")], ({ get }) =>
      Effect.gen(function*() {
        const upstreams = yield* Upstreams.Upstreams
        const upstream = yield* get("good")
        yield* upstream.connect
        let taken = 0
        let told = 0
        let free: () => void = () => {}
        const gate = new Promise<void>((resolve) => (free = resolve))
        yield* upstreams.events.pipe(
          Stream.runForEach((event) =>
            Effect.suspend(() => {
              taken++
              if (event._tag === "Connected") told++
              return Effect.promise(() => gate)
            })
          ),
          Effect.forkScoped({ startImmediately: true })
        )
        assert.isTrue("result" in (yield* upstream.request(call("flood"))))
        free()
        yield* Harness.eventually("told to read anew", () => told >= 2 || undefined)
        assert.isBelow(taken, 1_000)
      })))
})

describe("secrets and the environment", () => {
  it.live("references are resolved, what isn't given isn't passed on, and no secret shows in an error", () =>
    Effect.gen(function*() {
      const folder = mkdtempSync(join(tmpdir(), "portolan-upstream-"))
      const file = join(folder, "key")
      writeFileSync(file, "from-a-file\n")
      process.env["PORTOLAN_TEST_SECRET"] = "from-the-environment"
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          rmSync(folder, { recursive: true })
          delete process.env["PORTOLAN_TEST_SECRET"]
        })
      )
      yield* Harness.withUpstreams([
        child("good", { env: { A: { env: "PORTOLAN_TEST_SECRET" }, B: { file }, C: "plain" } }),
        child("secret", { env: { KEY: { env: "PORTOLAN_TEST_SECRET" } } }),
        child("exit", { env: { KEY: { env: "PORTOLAN_TEST_NOT_SET" } } })
      ], ({ get, until }) =>
        Effect.gen(function*() {
          const env = structured(yield* (yield* get("good")).request(call("env")))
          assert.deepInclude(env, {
            A: "from-the-environment",
            B: "from-a-file",
            C: "plain",
            PATH: process.env["PATH"]
          })
          assert.notProperty(env, "PORTOLAN_TEST_SECRET")
          const failed = yield* until(
            "secret failed",
            (event) => event._tag === "Failed" && event.upstream.key === Harness.keyOf("secret")
          )
          assert.strictEqual(failed._tag === "Failed" && failed.reason, "exited with code 1: the key is <redacted>")
          const unset = yield* until(
            "exit failed",
            (event) => event._tag === "Failed" && event.upstream.key === Harness.keyOf("exit")
          )
          assert.strictEqual(
            unset._tag === "Failed" && unset.reason,
            "env.KEY: the environment variable PORTOLAN_TEST_NOT_SET is not set"
          )
        }))
    }))
})

describe("the end", () => {
  it.live("a child that is stubborn, and a grandchild, are gone when the layer is", () =>
    Effect.gen(function*() {
      const groups: Array<number> = []
      yield* Harness.withUpstreams([child("stubborn"), child("grandchild")], ({ get }) =>
        Effect.gen(function*() {
          for (const id of ["stubborn", "grandchild"]) {
            const { pid } = structured(yield* (yield* get(id)).request(call("pid")))
            groups.push(Number(pid))
          }
          assert.isAtLeast(Processes.membersOf(groups[1] ?? 0).length, 2)
        }))
      for (const group of groups) assert.deepStrictEqual(Processes.membersOf(group), [])
    }))

  it.live("one that is no longer announced is ended once its calls are done", () =>
    Harness.withUpstreams([child("good")], ({ get, set, until }) =>
      Effect.gen(function*() {
        const upstream = yield* get("good")
        const { pid } = structured(yield* upstream.request(call("pid")))
        const fiber = yield* Effect.forkChild(upstream.request(call("never")), { startImmediately: true })
        yield* set([])
        yield* until("closed", (event) => event._tag === "Closed")
        const refused = yield* Effect.flip(upstream.request(call("x")))
        assert.deepStrictEqual([refused.phase, refused.reason], ["notSent", "no longer announced"])
        assert.isTrue(Processes.alive(Number(pid)))
        yield* Fiber.interrupt(fiber)
        yield* Harness.eventually("gone", () => !Processes.alive(Number(pid)) || undefined)
      })))

  it.live("a changed endpoint is a new child; another change keeps it", () =>
    Harness.withUpstreams([child("good")], ({ get, set, until }) =>
      Effect.gen(function*() {
        const first = structured(yield* (yield* get("good")).request(call("pid")))["pid"]
        yield* set([{ ...child("good"), weight: 2 }])
        const upstream = yield* get("good")
        yield* Harness.eventually("the newest record", () => upstream.instance().weight === 2 || undefined)
        assert.strictEqual(structured(yield* upstream.request(call("pid")))["pid"], first)
        yield* set([child("good", { args: ["other"] })])
        yield* until("closed", (event) => event._tag === "Closed")
        const second = structured(yield* (yield* get("good")).request(call("pid")))["pid"]
        assert.notStrictEqual(second, first)
      })))

  it.live("what has no transport here says so", () =>
    Harness.withUpstreams([{
      id: "old",
      service: "old",
      endpoint: { transport: "a2a", card: "http://127.0.0.1:1/card" }
    }], ({ get, until }) =>
      Effect.gen(function*() {
        const failed = yield* until("failed", (event) => event._tag === "Failed")
        assert.strictEqual(failed._tag === "Failed" && failed.reason, "transport a2a is not supported yet")
        assert.strictEqual((yield* get("old")).state()._tag, "failed")
      })))
})
