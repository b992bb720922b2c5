import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Watchdog from "../../src/upstream/transports/Watchdog.ts"
import * as Harness from "./Harness.ts"
import * as Processes from "./Processes.ts"

const gateway = fileURLToPath(new URL("./fixtures/gateway.mjs", import.meta.url))

/** Starts a process with children and reads what it says of them. */
const start = (...modes: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly kill: () => void; readonly groups: ReadonlyArray<number>; readonly watchdog: number }>(
      (resume) => {
        const child = spawn(process.execPath, ["--no-warnings", gateway, ...modes], {
          stdio: ["ignore", "pipe", "inherit"]
        })
        let text = ""
        child.stdout.on("data", (chunk) => {
          text += String(chunk)
          if (!text.endsWith("\n")) return
          const said = JSON.parse(text) as { groups: ReadonlyArray<number>; watchdog: number }
          resume(Effect.succeed({ ...said, kill: () => void child.kill("SIGKILL") }))
        })
      }
    ),
    ({ kill }) => Effect.sync(kill)
  )

describe("Watchdog", () => {
  it.live(
    "after kill -9 no child lives for more than 5 s, whatever it is, and the watchdog ends",
    () =>
      Effect.gen(function*() {
        const running = yield* start("good", "stubborn", "grandchild")
        assert.strictEqual(running.groups.length, 3)
        const members = running.groups.flatMap(Processes.membersOf)
        assert.isAtLeast(members.length, 4, "three children and a grandchild")
        running.kill()
        yield* Harness.eventually(
          "all gone",
          () => running.groups.every((group) => Processes.membersOf(group).length === 0) || undefined,
          5_000
        )
        yield* Harness.eventually("the watchdog too", () => !Processes.alive(running.watchdog) || undefined, 2_000)
      }),
    20_000
  )

  it.live("is one small process for all, and ends with its scope together with what is left", () =>
    Effect.gen(function*() {
      const group = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("sleep", ["60"], { detached: true, stdio: "ignore" })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const spared = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("sleep", ["60"], { detached: true, stdio: "ignore" })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const pid = yield* Effect.scoped(Effect.gen(function*() {
        const watchdog = yield* Watchdog.make
        assert.isUndefined(watchdog.pid())
        watchdog.add(group.pid ?? 0)
        watchdog.add(spared.pid ?? 0)
        const pid = watchdog.pid() ?? 0
        for (let other = 4_000_001; other < 4_000_100; other++) watchdog.add(other)
        assert.strictEqual(watchdog.pid(), pid)
        for (let other = 4_000_001; other < 4_000_100; other++) watchdog.remove(other)
        watchdog.remove(spared.pid ?? 0)
        const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
        assert.isBelow(Number(rss), 8_000)
        return pid
      }))
      yield* Harness.eventually("the watchdog gone", () => !Processes.alive(pid) || undefined, 5_000)
      assert.isFalse(Processes.alive(group.pid ?? 0))
      assert.isTrue(Processes.alive(spared.pid ?? 0))
    }))
})
