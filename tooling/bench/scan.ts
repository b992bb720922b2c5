/**
 * Scans of a network in which nobody answers: 1,024 addresses × 4 ports. `budget` is what concurrency, rate and the time to
 * connect allow; `interrupted`: from the end of a scan in its midst until it has no connection left. Needs root on Linux.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Identifying from "../../packages/mcp/src/upstream/Identifying.ts"
import * as Scan from "../../packages/network-scan/src/Scan.ts"
import * as Network from "../src/backends/Network.ts"
import { table } from "./Measure.ts"

const addresses = 1_024
const ports = 4

const settings = [
  { concurrency: 64, rate: 500, connectTimeout: 500 },
  { concurrency: 256, rate: 2_000, connectTimeout: 500 },
  { concurrency: 1_024, rate: 10_000, connectTimeout: 500 }
] as const

/** Connections of this process that are being made. */
const connecting = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length

const measure = Effect.fnUntraced(function*(network: string, setting: (typeof settings)[number]) {
  const { concurrency, connectTimeout, rate } = setting
  const options: Scan.ScanOptions = { ...setting, networks: [network], ports: [`3000-${3000 + ports - 1}`] }
  const baseline = connecting()
  const before = process.memoryUsage().rss
  let most = 0
  let memory = 0
  const [took] = yield* Effect.timed(Stream.runForEach(Scan.scan(options), () =>
    Effect.sync(() => {
      most = Math.max(most, connecting() - baseline)
      memory = Math.max(memory, process.memoryUsage().rss - before)
    })))

  const fiber = yield* Effect.forkChild(Stream.runDrain(Scan.scan(options)))
  yield* Effect.sleep(connectTimeout / 2)
  const begun = performance.now()
  yield* Fiber.interrupt(fiber)
  while (connecting() > baseline) yield* Effect.sleep(1)
  const interrupted = performance.now() - begun

  // The one address that is this machine's refuses at once.
  const budget = Math.max((addresses - 1) * ports / concurrency * connectTimeout, 1_000 * addresses * ports / rate)
  return [
    `${concurrency} at a time, ${rate.toLocaleString("en")} a second`,
    (Duration.toMillis(took) / 1_000).toFixed(1),
    (budget / 1_000).toFixed(1),
    `${most}`,
    (memory / 2 ** 20).toFixed(0),
    interrupted.toFixed(0)
  ]
})

const rows = Effect.gen(function*() {
  const network = yield* Network.silent(22)
  return yield* Effect.forEach(settings, (setting) => measure(network, setting))
}).pipe(Effect.scoped, Effect.provide(Identifying.layer))

const unavailable = await Effect.runPromise(Network.unavailable)
if (unavailable !== undefined) console.log(`scan: left out: ${unavailable}`)
else {
  table(`a scan of ${addresses.toLocaleString("en")} silent addresses × ${ports} ports`, [
    ["", "s", "budget, s", "connections, most", "memory, MiB", "interrupted, ms"],
    ...await Effect.runPromise(rows),
    ["goal", "", "", "", "", "200"]
  ])
}
process.exit(0)
