/**
 * The process that watches, for `registries.ts`: `node watch.ts <registry> <address> [writes]`. Prints a line of JSON with
 * the ms to the first full catalog; with `writes` it is idle then until it reads a line, writes as often, and prints the ms
 * of each from the start of the write until the catalog has it.
 */
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import type { Registrar } from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { once } from "node:events"
import * as Target from "./Target.ts"

const [name = "", url = "", writes = "0"] = process.argv.slice(2)

/** ms that one write takes until it is in the catalog. */
const timeOf = Effect.fnUntraced(function*(
  discovery: Discovery.Discovery["Service"],
  registrar: Registrar,
  written: ServiceInstance
) {
  const began = performance.now()
  const seen = discovery.updates.pipe(
    Stream.filter(({ changes }) => changes.some(({ entry }) => entry.instance.id === written.id)),
    Stream.take(1),
    Stream.runDrain,
    Effect.map(() => performance.now() - began)
  )
  const write = registrar.put(written, { ttl: Duration.hours(1), incarnation: "bench" })
  const [time] = yield* Effect.all([seen, write], { concurrency: "unbounded" })
  // The catalog is published at most every 50 ms; a write that comes alone doesn't wait for that.
  yield* Effect.sleep(60 + 40 * Math.random())
  return time
})

const measure = Effect.gen(function*() {
  const services = yield* Layer.build(Layer.provideMerge(Discovery.layer(), Registries.layer))
  const discovery = Context.get(services, Discovery.Discovery)
  const began = performance.now()
  yield* Context.get(services, Registries.Registries).add(yield* Target.open(name, url))
  yield* discovery.updates.pipe(
    Stream.filter(({ catalog }) => HashMap.size(catalog.entries) >= Target.instances.length),
    Stream.take(1),
    Stream.runDrain
  )
  console.log(JSON.stringify(performance.now() - began))
  if (writes === "0") return
  yield* Effect.promise(() => once(process.stdin, "data"))
  // It writes as another process would: over connections of its own.
  const { registrar } = yield* Target.open(name, url)
  const times: Array<number> = []
  for (let count = 0; count < Number(writes); count++) {
    const service = yield* Random.nextIntBetween(0, Target.serviceCount - 1)
    const joining = Target.instance(Target.instances.length + count * Target.serviceCount + service)
    times.push(yield* timeOf(discovery, yield* Effect.fromOption(registrar), joining))
  }
  console.log(JSON.stringify(times))
})

await Effect.runPromise(Effect.scoped(measure))
process.exit(0)
