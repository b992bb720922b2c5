/**
 * One session of reading: what announces itself, judged and said as changes of a registry.
 *
 * **Mental model**: the browser knows which services there are. Each that is new or different is judged: whether it may be
 * taken from where it is, whether a server of its kind answers there, and what record it makes. What is different by the
 * time that is known is judged anew, so nothing old is said.
 */
import type * as Identification from "@portolan/core/Identification"
import * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isIPv6 } from "node:net"
import * as DnsSdRecord from "../DnsSdRecord.ts"
import { Browser, type BrowserOptions } from "./browser.ts"
import type { MulticastError } from "./multicast.ts"
import { isLoopback } from "./networks.ts"
import type { Service } from "./service.ts"
import * as Station from "./station.ts"

export interface BrowsingOptions
  extends Pick<Station.StationOptions, "multicast" | "interfaces">, Omit<BrowserOptions, "random">
{
  /** Whether servers may be at an address. */
  readonly isAllowed: (address: string) => boolean
  /** How servers are identified before they are taken; none: they are taken unseen. */
  readonly identify: ((address: Identification.Address) => Identified) | undefined
}

type Identified = Effect.Effect<Identification.Identity, Identification.NotIdentified>

export interface Session {
  /** What there is, once those who are there had the time to say so. */
  readonly first: Effect.Effect<Registry.Snapshot, MulticastError>
  /** What is different since the last time; waits until something is. */
  readonly next: Effect.Effect<Registry.Delta, MulticastError>
}

/** ms in which whoever is there answers the first question, and is identified. */
const gathering = 1000

/** Services judged at the same time. */
const concurrency = 16

/** Addresses of one service that are tried. */
const mostAddresses = 3

/** Begins a session; its sockets close with the scope. */
export const begin = Effect.fnUntraced(function*(
  options: BrowsingOptions
): Effect.fn.Return<Session, never, Scope.Scope> {
  const { identify, isAllowed } = options
  const browser = new Browser({ ...options, random: Math.random })
  const touched = Latch.makeUnsafe(false)
  const station = yield* Station.make(browser, { ...options, settled: () => touched.openUnsafe() })
  /** Who answered at which address, by the names of those services. */
  const identities = new Map<string, { readonly url: string; readonly identity: Identification.Identity }>()

  const identified = Effect.fnUntraced(function*(service: Service, host: string) {
    const announced = { ...service, host }
    const record = yield* Effect.fromResult(DnsSdRecord.read(announced))
    const { endpoint, id } = record
    if (identify === undefined) return record
    if (endpoint.transport !== "streamable-http" && endpoint.transport !== "sse") {
      return yield* Effect.fail(`a server that is reached by ${endpoint.transport} can't be identified; ${untested}`)
    }
    const { transport } = endpoint
    const { origin, pathname } = new URL(endpoint.url)
    const url = origin + pathname
    const serverName = endpoint.tls?.serverName
    const known = identities.get(id)
    const identity = known?.url === url ? known.identity : yield* Effect.mapError(
      identify({ transport, url, serverName }),
      ({ kind, reason }) => `not identified at ${url}: ${reason}${kind === "protected" ? `; ${untested}` : ""}`
    )
    if (browser.isCurrent(service)) identities.set(id, { url, identity })
    return yield* Effect.fromResult(DnsSdRecord.read(announced, identity))
  })

  let changes = new Map<string, Registry.Change>()
  const changed = Latch.makeUnsafe(false)
  const say = (id: string, change: Registry.Change) => {
    changes.set(id, change)
    changed.openUnsafe()
  }
  const take = Effect.sync(() => {
    const taken = Array.from(changes.values())
    changes = new Map()
    changed.closeUnsafe()
    return taken
  })

  /** What is to be judged, by name: it may take its time, and who is gone is told meanwhile. */
  const waiting = new Map<string, Service>()
  const toJudge = Latch.makeUnsafe(false)
  const found = Effect.map(touched.await, () => {
    touched.closeUnsafe()
    for (const found of browser.changes()) {
      if (found._tag === "There") {
        waiting.set(found.service.instance, found.service)
        toJudge.openUnsafe()
      } else {
        waiting.delete(found.instance)
        identities.delete(found.instance)
        say(found.instance, { _tag: "Removed", id: found.instance, how: found.how })
      }
    }
  })
  const next = Effect.map(toJudge.await, () => {
    const services = Array.from(waiting.values())
    waiting.clear()
    toJudge.closeUnsafe()
    return services
  })

  const judge = Effect.fnUntraced(function*(service: Service) {
    if (!browser.isCurrent(service)) return
    const { addresses, instance: id, link } = service
    const hosts = addresses.filter((address) =>
      isAllowed(address) && !isLinkLocal(address) && (link.isLoopback || !isLoopback(address))
    ).slice(0, mostAddresses)
    const attempts = hosts.map((host) => identified(service, host))
    const refused: Effect.Effect<ServiceInstance, string> = Effect.fail(
      `nothing at ${addresses.slice(0, mostAddresses).join(", ")} is taken from ${link.name}; ` +
        "see allowNetworks and denyNetworks"
    )
    const result = yield* Effect.result(attempts.length === 0 ? refused : Effect.firstSuccessOf(attempts))
    if (!browser.isCurrent(service)) return
    if (Result.isSuccess(result)) return say(id, { _tag: "Put", instance: result.success })
    say(id, { _tag: "Reject", rejected: { id, reason: result.failure } })
    if (identify === undefined || attempts.length === 0) return
    browser.doubt(service, station.now())
    station.wake()
  })

  yield* Effect.forkScoped(Effect.forever(found))
  yield* Stream.fromEffectRepeat(next).pipe(
    Stream.flattenIterable,
    Stream.mapEffect(judge, { concurrency, unordered: true }),
    Stream.runDrain,
    Effect.forkScoped
  )
  const running = yield* Effect.forkScoped(station.run)
  const whileRunning = <A>(effect: Effect.Effect<A>) => Effect.raceFirst(effect, Fiber.join(running))
  return {
    first: whileRunning(Effect.map(Effect.andThen(Effect.sleep(gathering), take), (changes) =>
      Registry.snapshot(
        changes.flatMap((change) => change._tag === "Put" ? [change.instance] : []),
        changes.flatMap((change) => change._tag === "Reject" ? [change.rejected] : [])
      ))),
    next: whileRunning(Effect.map(Effect.andThen(changed.await, take), Registry.delta))
  }
})

const untested = "`identify: false` takes servers unseen"

/** An address that says nothing without an interface: no URL holds one. */
const isLinkLocal = (address: string): boolean => isIPv6(address) && /^fe[89ab]/i.test(address)
