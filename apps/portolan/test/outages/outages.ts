/**
 * What must hold while the backend of a registry is broken, and when it is well again: one test for each way to break it.
 *
 * **Mental model**: eight servers announce themselves and renew their leases, callers call them without a pause, and
 * everything that the catalog publishes is written down. In the outage the fleet goes on changing: one server joins, one
 * announces itself with another weight, one dies without a word. When all is over, the catalog has published these
 * changes, each once, and nothing else.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import type * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import type * as Network from "@portolan/tooling/backends/Network"
import type * as Server from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { timed } from "../fleet.ts"
import { served } from "../mcpServer.ts"
import { observe } from "./observed.ts"

/** A real backend. */
export interface Backend {
  /** The registry that the gateway reads. */
  readonly read: Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope>
  /** The registry in which servers announce themselves; default: made like the one that is read. */
  readonly announce?: Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope>
  /** Writes to the backend without Portolan; fails while it takes no writes. */
  readonly works: Effect.Effect<unknown, unknown>
}

/** A way to break it. */
export interface Outage<B extends Backend> {
  readonly title: string
  /** `all`: it is lost until it is mended. `part`: what is left of it goes on by itself, and later the rest is mended. */
  readonly lost: "all" | "part"
  /** Whether its records are lost too. */
  readonly wiped?: boolean
  /** How long records live without a renewal, s; a third of it is a heartbeat. Default 12. */
  readonly ttl?: number
  /** Breaks it, and answers what mends it. */
  readonly begin: (backend: B) => Effect.Effect<Effect.Effect<unknown, unknown>, unknown>
}

/** ms that the catalog may take once the backend is well. */
const limit = 5_000

/** Tests of a file that run at the same time: most of the time they wait for leases to run out. */
const atOnce = Semaphore.makeUnsafe(2)

const services = ["alpha", "beta"] as const

/** Registers a test for each outage. */
export const suite = <B extends Backend>(
  name: string,
  unavailable: string | undefined,
  make: Effect.Effect<B, unknown, Scope.Scope>,
  outages: ReadonlyArray<Outage<B>>
): void => {
  if (unavailable !== undefined) console.log(`skipped: outages of ${name}: ${unavailable}`)
  describe.skipIf(unavailable !== undefined)(`outages of ${name}`, () => {
    for (const outage of outages) {
      it.live(
        outage.title,
        () =>
          Effect.scoped(endure(name, make, outage)).pipe(
            atOnce.withPermit,
            // That a registry is lost is what this is about, no news.
            Effect.provideService(References.MinimumLogLevel, "Error")
          ),
        { concurrent: true, timeout: 240_000 }
      )
    }
  })
}

const endure = Effect.fnUntraced(function*<B extends Backend>(
  name: string,
  make: Effect.Effect<B, unknown, Scope.Scope>,
  { begin, lost, title, ttl = 12, wiped = false }: Outage<B>
): Effect.fn.Return<void, unknown, Scope.Scope> {
  const backend = yield* make
  const servers = yield* Effect.forEach(services, () => served({ tools: [{ name: "echo", readOnly: true }] }))
  const instance = (service: number, n: number) =>
    ServiceInstance.make({
      id: `${services[service]}-${n}`,
      service: services[service] ?? "",
      endpoint: { transport: "streamable-http", url: servers[service]?.url ?? "" }
    })
  const announcerOf = (registry: Registry.Registry) =>
    Announcement.announcer(registry, { ttl: `${ttl} seconds`, drain: 0, deadline: "1 second" })

  const host = yield* announcerOf(yield* backend.announce ?? backend.read)
  const mortal = killable(yield* backend.announce ?? backend.read)
  const dying = yield* announcerOf(mortal.registry)
  const ids: Array<string> = []
  const announce = (service: number, n: number, announcer = host) => {
    const announced = instance(service, n)
    ids.push(announced.id)
    return announcer.announce(announced)
  }
  const [first] = yield* Effect.forEach([1, 2, 3, 4], (n) => announce(0, n))
  yield* Effect.forEach([1, 2, 3], (n) => announce(1, n))
  // Where all is wiped nobody dies, and all are back at once: while most are missing, the others are believed to be there.
  yield* announce(1, 4, wiped ? host : dying)

  const seen = yield* observe(yield* backend.read, services.map((service) => `${service}__echo`))
  const has = (id: string, weight?: number) => {
    const entry = seen.entry(id)
    return entry !== undefined && entry.missingSince === undefined &&
      (weight === undefined || entry.instance.weight === weight)
  }
  const isWell = () => seen.source()?.state === "connected" && seen.source()?.held === 0
  yield* seen.until("all of the fleet", () => isWell() && ids.every((id) => has(id)), 10_000)
  yield* seen.calls(5)
  const before = seen.published().length
  const expected: Array<string> = []

  const mend = yield* begin(backend)
  const [, untilStale] = yield* timed(
    lost === "all"
      ? seen.until("a stale source", () => seen.source()?.state === "stale", 15_000)
      : Effect.void
  )
  if (!wiped) {
    mortal.kill()
    ids.splice(ids.indexOf("beta-4"), 1)
    expected.push("Removed beta-4")
  }
  yield* Effect.forkScoped(Effect.suspend(() => announce(1, 5)))
  expected.push("Added beta-5")
  yield* first?.update((instance) => ({ ...instance, weight: 7 })) ?? Effect.void
  expected.push("Updated alpha-1")
  yield* seen.calls(40)
  if (lost === "all") {
    assert.strictEqual(seen.source()?.state, "stale")
    assert.deepStrictEqual(seen.published().slice(before), [], "published while the backend was away")
    yield* mend
  }

  const [, untilWorks] = yield* timed(
    backend.works.pipe(
      Effect.timeout("1 second"),
      Effect.retry(Schedule.spaced("50 millis")),
      Effect.timeout("90 seconds")
    )
  )
  const [, untilWell] = yield* timed(
    seen.until(
      "all as it is",
      () => isWell() && ids.every((id) => has(id)) && has("beta-5") && has("alpha-1", 7),
      // What was wiped is there again after a heartbeat, and the time to hear of it.
      wiped ? ttl * 1000 / 3 + 1_000 : limit
    )
  )
  if (lost === "part") yield* mend
  // A wiped backend is believed again when all is there, not when it is forgotten that something was. Leases live once more
  // as long from when a new leader took over, and so again when what is mended brings another one.
  const [, untilGone] = yield* timed(
    wiped ? Effect.void : seen.until("the dead one gone", () => seen.entry("beta-4") === undefined, 3 * ttl * 1000)
  )
  yield* announce(0, 9)
  expected.push("Added alpha-9")
  yield* seen.until("the last to join", () => isWell() && ids.every((id) => has(id)), limit)
  yield* seen.calls(5)
  console.log(JSON.stringify({ name, title, untilStale, untilWorks, untilWell, untilGone }))
  assert.deepStrictEqual(seen.published().slice(before).toSorted(), expected.toSorted())
  assert.deepStrictEqual(seen.failures(), [])
})

/** Does the same to all of them at once. */
export const each = <A, E>(members: ReadonlyArray<A>, act: (member: A) => Effect.Effect<unknown, E>) =>
  Effect.forEach(members, act, { concurrency: "unbounded", discard: true })

const hostOf = (hosts: ReadonlyArray<Network.Host>, { host }: Pick<Server.Server, "host">) =>
  Effect.fromNullishOr(hosts.find((known) => known.host === host))

/** Cuts the network of a server, and answers what mends it. */
export const cut = (hosts: ReadonlyArray<Network.Host>, server: Server.Server) =>
  Effect.flatMap(hostOf(hosts, server), ({ cut, heal }) => Effect.as(cut, heal))

/** Cuts a server off from its peers alone, and answers what mends it. */
export const isolate = (hosts: ReadonlyArray<Network.Host>, server: Server.Server) =>
  Effect.flatMap(hostOf(hosts, server), ({ cutFromPeers, heal }) => Effect.as(cutFromPeers, heal))

/** A registry whose writer says nothing more once it is killed. */
const killable = (registry: Registry.Registry) => {
  let killed = false
  const unless = <A, E>(effect: Effect.Effect<A, E>) => Effect.suspend(() => killed ? Effect.never : effect)
  return {
    registry: {
      ...registry,
      registrar: Option.map(registry.registrar, (registrar): Registry.Registrar => ({
        put: (instance, lease) => unless(registrar.put(instance, lease)),
        renew: (leases) => unless(registrar.renew(leases)),
        remove: (lease) => unless(registrar.remove(lease))
      }))
    },
    kill: () => {
      killed = true
    }
  }
}
