/**
 * Others side by side with ours, in one run. First a pick: moleculer's strategies behind its `EndpointList.next`, which
 * leaves out who isn't available, as ours does; its strategies alone; and the weighted round robin of `@grpc/grpc-js` with the
 * callback that ends a call, next to our pick with `begin` and `end`. Then a whole call that does nothing: cockatiel's
 * retry, circuit breaker and time-out around a promise, next to `Router.route` in a fiber and from a promise.
 */
import * as Balancer from "@portolan/core/Balancer"
import * as Health from "@portolan/core/Health"
import * as Router from "@portolan/core/Router"
import {
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  timeout,
  TimeoutStrategy,
  wrap
} from "cockatiel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import * as Fleet from "./Fleet.ts"
import { show, summarize, table } from "./Measure.ts"

const rounds = 9
const sizes = [10, 1_000]
const require = createRequire(import.meta.url)
// Not among its exports.
const moleculerAt = join(dirname(require.resolve("moleculer")), "src")

interface Subject {
  readonly name: string
  /** Makes so many calls. */
  readonly run: (calls: number) => void | Promise<void>
}

/** ns per call of each, in turns, after a round to warm up; the first is what the others are compared with. */
const measure = async (subjects: ReadonlyArray<Subject>, calls: number) => {
  const times = subjects.map((): Array<number> => [])
  for (let round = 0; round <= rounds; round++) {
    for (const [index, { run }] of subjects.entries()) {
      const began = performance.now()
      await run(calls)
      if (round > 0) times[index]?.push((performance.now() - began) * 1e6 / calls)
    }
  }
  const reference = summarize(times[0] ?? []).median
  return times.map((rounds) => {
    const time = summarize(rounds)
    return [show(time), `×${(time.median / reference).toFixed(2)}`]
  })
}

// The sum keeps the work from being thought away.
let sum = 0

const repeated = (name: string, call: () => void): Subject => ({
  name,
  run: (calls) => {
    for (let count = 0; count < calls; count++) call()
  }
})

const ours = (strategy: Balancer.StrategyName, size: number): Subject => {
  const balancer = Effect.runSync(Balancer.make())
  const picker = balancer.picker(strategy)
  picker.update(Fleet.instances(size).map((instance, index) => balancer.node(Fleet.key(index), instance)))
  return repeated(`portolan ${strategy}, with begin and end`, () => {
    const node = picker.pick()
    if (node === undefined) return
    balancer.begin(node)
    balancer.end(node, 10, "success")
    sum += node.picks
  })
}

interface Endpoint {
  readonly isAvailable: boolean
  readonly id: number
  readonly node: { readonly id: string; readonly cpu: number }
}

const moleculer = (strategy: string, size: number): ReadonlyArray<Subject> => {
  const Strategy: new(registry: object, broker: object) => { select: (list: ReadonlyArray<Endpoint>) => Endpoint } =
    require(`${moleculerAt}/strategies/${strategy}.js`)
  const List: new(...parts: ReadonlyArray<unknown>) => { endpoints: ReadonlyArray<Endpoint>; next: () => Endpoint } =
    require(`${moleculerAt}/registry/endpoint-list.js`)
  const endpoints = Array.from({ length: size }, (_, id): Endpoint => ({
    isAvailable: true,
    id,
    node: { id: `n${id}`, cpu: 20 + id % 60 }
  }))
  const registry = { opts: { preferLocal: false } }
  const alone = new Strategy(registry, {})
  const list = new List(registry, {}, "weather", "weather", undefined, Strategy)
  list.endpoints = endpoints
  return [
    repeated(`moleculer ${strategy}, next`, () => {
      sum += list.next().id
    }),
    repeated(`moleculer ${strategy}, the strategy alone`, () => {
      sum += alone.select(endpoints).id
    })
  ]
}

interface GrpcPick {
  readonly subchannel: object | null
  readonly onCallEnded: ((status: number, details: string, metadata: object) => void) | null
}

/** The balancer of `@grpc/grpc-js` over subchannels that are connected and do nothing. */
const grpc = (size: number): Subject => {
  const build = "@grpc/grpc-js/build/src"
  const ready: number = require(`${build}/connectivity-state.js`).ConnectivityState.READY
  const { createLoadBalancer, parseLoadBalancingConfig } = require(`${build}/load-balancer.js`)
  const { Metadata } = require(`${build}/metadata.js`)
  // Registers the policies.
  require("@grpc/grpc-js")
  const subchannelOf = (address: string) => {
    const subchannel = {
      getConnectivityState: () => ready,
      addConnectivityStateListener: () => {},
      removeConnectivityStateListener: () => {},
      startConnecting: () => {},
      getAddress: () => address,
      throttleKeepalive: () => {},
      ref: () => {},
      unref: () => {},
      getChannelzRef: () => ({}),
      addDataWatcher: () => {},
      getCallCredentials: () => ({}),
      isHealthy: () => true,
      addHealthStateWatcher: () => {},
      removeHealthStateWatcher: () => {},
      getWrappedSubchannel: (): object => subchannel,
      getRealSubchannel: (): object => subchannel,
      realSubchannelEquals: (other: object) => other === subchannel
    }
    return subchannel
  }
  const state: { picker: { readonly pick: (args: object) => GrpcPick } | undefined } = { picker: undefined }
  const config = parseLoadBalancingConfig({ weighted_round_robin: {} })
  const balancer = createLoadBalancer(config, {
    createSubchannel: ({ host }: { readonly host: string }) => subchannelOf(host),
    updateState: (_state: number, picker: { readonly pick: (args: object) => GrpcPick }) => {
      state.picker = picker
    },
    requestReresolution: () => {},
    addChannelzChild: () => {},
    removeChannelzChild: () => {}
  })
  const endpoints = Array.from({ length: size }, (_, index) => ({
    addresses: [{ host: `10.0.${index >> 8}.${index & 255}`, port: 80 }]
  }))
  balancer.updateAddressList({ ok: true, value: endpoints }, config, {}, "")
  const { picker } = state
  if (picker === undefined) throw new Error("@grpc/grpc-js gave no picker")
  const args = { metadata: new Metadata(), extraPickInfo: {} }
  return repeated("@grpc/grpc-js weighted_round_robin, with onCallEnded", () => {
    const picked = picker.pick(args)
    picked.onCallEnded?.(0, "", args.metadata)
    if (picked.subchannel !== null) sum++
  })
}

for (const size of sizes) {
  const subjects = [
    ours("weighted-round-robin", size),
    ours("round-robin", size),
    ours("random", size),
    ours("peak-ewma", size),
    ...["round-robin", "random", "cpu-usage"].flatMap((strategy) => moleculer(strategy, size)),
    grpc(size)
  ]
  const measured = await measure(subjects, 200_000)
  table(`ns per pick of ${size.toLocaleString("en")}: median (min … max)`, [
    ["", "ns", `of ${subjects[0]?.name.split(",")[0]}`],
    ...subjects.map(({ name }, index) => [name, ...(measured[index] ?? [])])
  ])
}

const nothing = () => Promise.resolve(1)
const policy = wrap(
  retry(handleAll, { maxAttempts: 2, backoff: new ExponentialBackoff() }),
  circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) }),
  timeout(60_000, TimeoutStrategy.Aggressive)
)
const request: Router.RouteRequest = {
  target: { service: "weather" },
  name: "weather",
  repeatable: true,
  readOnly: true
}
const attempt = () => Effect.sync(() => 1)
const waiting = () => Effect.promise(nothing)

await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
  const fleet = yield* Fleet.make(100)
  const layer = Router.layer({ hedging: {} }).pipe(
    Layer.provideMerge(Health.layer()),
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(fleet.layer)
  )
  const router = yield* Effect.provide(Router.Router, yield* Layer.build(layer))
  const fiber = (name: string, call: () => Effect.Effect<unknown, unknown>): Subject => ({
    name,
    run: (calls) =>
      Effect.runPromise(Effect.gen(function*() {
        for (let count = 0; count < calls; count++) yield* call()
      }))
  })
  const promised = (name: string, call: () => Promise<unknown>): Subject => ({
    name,
    run: async (calls) => {
      for (let count = 0; count < calls; count++) await call()
    }
  })
  const subjects = [
    promised("await of a promise", nothing),
    promised("cockatiel: retry, circuit breaker, time-out", () => policy.execute(nothing)),
    promised("portolan from a promise, one of 100", () => Effect.runPromise(router.route(request, waiting))),
    fiber("portolan in a fiber, one of 100, an attempt that waits", () => router.route(request, waiting)),
    fiber("portolan in a fiber, one of 100", () => router.route(request, attempt))
  ]
  const measured = yield* Effect.promise(() => measure(subjects, 30_000))
  table("ns per call that does nothing: median (min … max)", [
    ["", "ns", "of await"],
    ...subjects.map(({ name }, index) => [name, ...(measured[index] ?? [])])
  ])
})))
if (Number.isNaN(sum)) console.log(sum)
process.exit(0)
