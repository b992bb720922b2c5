import type { Address } from "@portolan/core/Identification"
import * as IpSet from "@portolan/core/IpSet"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { isIP } from "node:net"
import type { ScanOptions } from "../Scan.ts"

/** Ports of hosts that a scan asks at most: an hour at the default rate, and then some. */
const most = 2 ** 21

/** Addresses that a name stands for at most. */
export const addressesOfName = 16

/** How long it takes at most to find out which servers are the same one, in times that identifying takes. */
export const comparing = 10

/** How long taking leave takes at most: of a server that isn't one after all, and of all the others at the end, together. */
const leaving = Duration.seconds(1)

/** What the system takes for this machine where it is connected to, whatever of loopback is denied. */
const unspecified = IpSet.of("0.0.0.0", "::")

/** How long a name may take to be looked up. */
export const lookup: Duration.Duration = Duration.seconds(5)

/** What stands in the way of a scan; without an option it isn't what was asked for. */
export interface Mistake {
  readonly option?: keyof ScanOptions
  /** One line for a person. */
  readonly reason: string
}

const refuse = (option: keyof ScanOptions, reason: string): Result.Result<never, Mistake> =>
  Result.fail({ option, reason })

/** A way to speak to a port. */
interface Way {
  readonly scheme: "http" | "https"
  readonly transport: Address["transport"]
}

/**
 * What a scan is to ask, made of its options.
 *
 * @internal
 */
export interface Plan {
  /** Who may be asked. */
  readonly allowed: IpSet.IpSet
  /** Who is asked: all of it allowed. */
  readonly addresses: IpSet.IpSet
  readonly hosts: ReadonlyArray<string>
  readonly ports: ReadonlyArray<number>
  readonly paths: ReadonlyArray<string>
  /** Tried one after the other, until one is understood. */
  readonly ways: ReadonlyArray<Way>
  readonly concurrency: number
  readonly rate: number
  readonly connectTimeout: Duration.Duration
  readonly identifyTimeout: Duration.Duration
}

/**
 * Makes the plan; the failure says which option is wrong, and what it should be.
 *
 * @internal
 */
export const make = (options: ScanOptions): Result.Result<Plan, Mistake> =>
  Result.gen(function*() {
    const { allowNetworks, hosts = [], schemes = ["http"], transports = ["streamable-http"] } = options
    const networks = yield* addresses("networks", options.networks ?? (hosts.length === 0 ? ["127.0.0.1"] : []))
    const allow = allowNetworks === undefined
      ? IpSet.union(networks, IpSet.loopback)
      : yield* addresses("allowNetworks", allowNetworks)
    const deny = yield* addresses("denyNetworks", options.denyNetworks ?? [])
    const allowed = IpSet.subtract(allow, IpSet.union(deny, unspecified))
    const asked = IpSet.intersect(networks, allowed)
    const odd = hosts.find((host) => isIP(host) === 0 && !/^[\p{L}\p{M}\p{N}._-]{1,253}$/u.test(host))
    if (odd !== undefined) {
      return yield* refuse("hosts", `expected a name such as build.internal or an address, not ${JSON.stringify(odd)}`)
    }
    if (hosts.length === 0 && IpSet.size(asked) === 0n) {
      return yield* refuse("networks", "none of their addresses may be asked: see those that are allowed and denied")
    }
    const ports = yield* portsOf(options.ports)
    yield* bounded("networks", IpSet.size(asked) * BigInt(ports.length))
    const paths = Array.from(new Set(options.paths ?? ["/mcp"]))
    const wrong = paths.find((path) => !/^\/[^?#\s]*$/.test(path))
    if (wrong !== undefined || paths.length === 0) {
      return yield* refuse("paths", `expected paths such as /mcp, not ${JSON.stringify(wrong ?? paths)}`)
    }
    if (schemes.length === 0) return yield* refuse("schemes", "expected at least one")
    if (transports.length === 0) return yield* refuse("transports", "expected at least one")
    return {
      allowed,
      addresses: asked,
      hosts,
      ports,
      paths,
      ways: schemes.flatMap((scheme) => transports.map((transport) => ({ scheme, transport }))),
      concurrency: Math.floor(yield* positive("concurrency", options.concurrency ?? 64)),
      rate: yield* positive("rate", options.rate ?? 500),
      connectTimeout: yield* time("connectTimeout", options.connectTimeout ?? "500 millis"),
      identifyTimeout: yield* time("identifyTimeout", options.identifyTimeout ?? "3 seconds")
    }
  })

/**
 * Refuses more than can be asked: ports of hosts, all together.
 *
 * @internal
 */
export const bounded = (option: "networks" | "hosts", count: bigint): Result.Result<void, Mistake> => {
  const text = (count: bigint | number) => count.toLocaleString("en")
  return count > most
    ? refuse(option, `with their ports they are ${text(count)} to ask, and at most ${text(most)} can be`)
    : Result.void
}

/**
 * Longest time that a scan takes: as if every port took the connection and then said nothing.
 *
 * @internal
 */
export const longest = (plan: Plan): Duration.Duration => {
  const addresses = Number(IpSet.size(plan.addresses)) + plan.hosts.length * addressesOfName
  const ports = addresses * plan.ports.length
  const connecting = Duration.toMillis(plan.connectTimeout)
  const identifying = Duration.toMillis(plan.identifyTimeout)
  const attempts = plan.paths.length * plan.ways.length
  const each = connecting + attempts * (identifying + Duration.toMillis(leaving))
  return Duration.millis(
    plan.hosts.length * Duration.toMillis(lookup) +
      Math.ceil(ports / plan.concurrency) * each + 1_000 * ports * (1 + attempts) / plan.rate +
      comparing * identifying + Duration.toMillis(leaving)
  )
}

const addresses = (
  option: "networks" | "allowNetworks" | "denyNetworks",
  texts: ReadonlyArray<string>
): Result.Result<IpSet.IpSet, Mistake> => Result.mapError(IpSet.parseAll(texts), (reason) => ({ option, reason }))

const portsOf = (texts: ReadonlyArray<string | number>): Result.Result<ReadonlyArray<number>, Mistake> => {
  const ports = new Set<number>()
  for (const text of texts) {
    const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(text).trim()) ?? []
    const [from, to] = [Number(first), Number(last)]
    if (!(from >= 1 && from <= to && to <= 65_535)) {
      return refuse("ports", `expected 8080 or 3000-3010, not ${JSON.stringify(text)}`)
    }
    for (let port = from; port <= to; port++) ports.add(port)
  }
  return ports.size === 0 ? refuse("ports", "expected at least one, such as 3000-3010") : Result.succeed([...ports])
}

const positive = (option: "concurrency" | "rate", value: number): Result.Result<number, Mistake> =>
  value >= 1 && value <= 100_000
    ? Result.succeed(value)
    : refuse(option, `expected a number from 1 to 100,000, not ${value}`)

const time = (
  option: "connectTimeout" | "identifyTimeout",
  input: Duration.Input
): Result.Result<Duration.Duration, Mistake> =>
  Duration.fromInput(input).pipe(
    Option.filter((duration) => Duration.isFinite(duration) && Duration.isPositive(duration)),
    Result.fromOption(() => ({ option, reason: "expected a time, such as \"3 seconds\"" }))
  )
