/**
 * The gateway's own event loop stands still under load: that is nobody else's fault.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { gateway, record, registry } from "./fleet.ts"
import * as Peers from "./peers.ts"
import { background, directory, until } from "./process.ts"
import { replica } from "./replicas.ts"

const block = fileURLToPath(new URL("block.mjs", import.meta.url))
const server = fileURLToPath(new URL("server.mjs", import.meta.url))

/** ms, as long as the loop stands still. */
const Stall = 5_000

interface Change {
  readonly event: string
}

describe("an event loop that stands still for 5 s", () => {
  it.live("makes no instance unhealthy, fails no call, and ends no lease", () =>
    Effect.gen(function*() {
      const cwd = yield* directory()
      const times = [0, 20, 200] as const
      const replicas = yield* Effect.forEach(times, (time) => replica(Path.join(cwd, "log"), time), {
        concurrency: "unbounded"
      })
      const running = yield* gateway(
        {
          registries: [{ type: "file", path: "services.json" }, { type: "memory" }],
          mcpServers: { child: { command: process.execPath, args: [server] } },
          // Shorter than it stands still, and not a single failure is forgiven.
          health: { interval: "300ms", timeout: "1s", fall: 1 }
        },
        {
          "services.json": registry(
            ...replicas.map(({ url }, index) => ({ ...record(`trio-${index}`, url), service: "trio" }))
          )
        },
        { env: { NODE_OPTIONS: `--import ${block}` } }
      )
      const env = { PORTOLAN_URL: running.url }
      const leased = yield* background(
        ["register", "leased", "--id", "leased-1", "--url", replicas[0]!.url, "--ttl", "2s"],
        { cwd, env }
      )
      const watch = yield* background(["watch", "--json"], { cwd, env })
      yield* until(Effect.sync(() => watch.out().includes("leased-1") || leased.out().includes("announced")), 20_000)

      const peers = yield* Effect.forEach(
        Array.from({ length: 16 }, (_, number) => number % 2 === 0 ? Peers.stateless : Peers.handshake),
        (open) => open(running.url),
        { concurrency: 4 }
      )
      const errors: Array<string> = []
      let calls = 0
      let longest = 0
      let at = performance.now()
      const calling = new AbortController()
      const caller = async (peer: Peers.Peer, number: number) => {
        const tools = ["trio__look", "trio__write", "leased__write", "child__echo"]
        for (let count = number; !calling.signal.aborted; count++) {
          const name = tools[count % tools.length]!
          const began = performance.now()
          try {
            await peer.call(name, { id: `${number}-${count}`, text: "x" })
          } catch (error) {
            errors.push(`${((performance.now() - at) / 1000).toFixed(2)} s ${name}: ${String(error)}`)
          }
          longest = Math.max(longest, performance.now() - began)
          calls++
        }
      }
      const all = yield* Effect.forkChild(Effect.promise(() => Promise.all(peers.map(caller))))
      yield* until(Effect.sync(() => calls > 500), 20_000)
      const before = calls
      at = performance.now()
      running.kill("SIGUSR2")
      yield* Effect.sleep(Stall)
      yield* until(Effect.sync(() => longest > Stall * 0.9 && calls > before + 500), 20_000)
      // What was suspected then would show by now.
      yield* Effect.sleep(3_000)
      calling.abort()
      yield* Fiber.join(all)

      // A socket that the server closed meanwhile may be used once more, and what then may have run isn't repeated.
      const allowed = /__write: .*connection closed by the server .*It may have run, and was not repeated/
      assert.deepStrictEqual(errors.filter((error) => !allowed.test(error)), [])
      const changes = watch.out().trimEnd().split("\n").filter((line) => {
        const { event }: Change = JSON.parse(line)
        return event === "health" || event === "catalog"
      })
      assert.deepStrictEqual(
        changes.filter((line) => /unhealthy|degraded|"down"|draining|"removed":\[[^\]]/.test(line)),
        []
      )
      const view: {
        readonly items: ReadonlyArray<{ readonly id: string; readonly health: { readonly status: string } }>
      } = yield* Effect.promise(async () => JSON.parse(await (await fetch(`${running.url}/api/v1/instances`)).text()))
      assert.deepStrictEqual(
        view.items.map(({ health, id }) => `${id} ${health.status}`).toSorted(),
        ["child healthy", "leased-1 healthy", "trio-0 healthy", "trio-1 healthy", "trio-2 healthy"]
      )
      // Who renews waits for 5 s: one renewal may have been sent just when the loop stopped. It is sent again, and no other
      // trouble is told.
      const told = leased.err().split("\n").filter((line) => line.includes("trying again"))
      assert.deepStrictEqual(told.filter((line) => !line.includes("no answer within 5000 ms")), [])
      assert.isAtMost(told.length, 1)
    }), 90_000)
})
