import * as IpSet from "@portolan/core/IpSet"
import * as Effect from "effect/Effect"
import { promises as dns } from "node:dns"
import { isIP } from "node:net"
import * as Plans from "./plan.ts"

/** An address, and the name that was looked up. */
interface Named {
  readonly address: string
  readonly name: string
}

/**
 * A port to ask.
 *
 * @internal
 */
export interface Target {
  /** Its place in the order of all of them. */
  readonly index: number
  /** An address, never a name: what was allowed is what is connected to. */
  readonly host: string
  readonly port: number
  /** Name that its certificate must hold, where it was found by one. */
  readonly serverName: string | undefined
}

/**
 * Ports to ask, by their place; they are never all in memory. The first port of every host comes first, so that nobody is
 * asked for all of theirs at once.
 *
 * @internal
 */
export class Targets {
  readonly total: number
  readonly #addresses: IpSet.IpSet
  readonly #named: ReadonlyArray<Named>
  readonly #ports: ReadonlyArray<number>
  readonly #numbered: number

  constructor({ addresses, allowed, ports }: Plans.Plan, found: ReadonlyArray<Named>) {
    const named = new Map<string, Named>()
    for (const one of found) {
      // Text of its own for each address: an IPv4-mapped one is asked as the IPv4 address that it is.
      const set = IpSet.intersect(IpSet.of(one.address), allowed)
      const address = IpSet.at(set, 0n)
      if (address !== undefined && !named.has(address)) named.set(address, { address, name: one.name })
    }
    this.#named = Array.from(named.values())
    this.#addresses = IpSet.subtract(addresses, IpSet.of(...named.keys()))
    this.#numbered = Number(IpSet.size(this.#addresses))
    this.#ports = ports
    this.total = (this.#numbered + this.#named.length) * ports.length
  }

  at(index: number): Target {
    const hosts = this.#numbered + this.#named.length
    const place = index % hosts
    const named = this.#named[place - this.#numbered]
    const host = named?.address ?? IpSet.at(this.#addresses, BigInt(place))
    const port = this.#ports[Math.floor(index / hosts)]
    if (host === undefined || port === undefined) throw new RangeError(`there is no target ${index}`)
    return { index, host, port, serverName: named === undefined || isIP(named.name) !== 0 ? undefined : named.name }
  }
}

/** Addresses that a name has now, as this machine knows names. */
type Lookup = (name: string) => Promise<ReadonlyArray<{ readonly address: string }>>

/**
 * Looks up the names of a plan. One that there isn't has no addresses.
 *
 * @internal
 */
export const resolve = (
  plan: Plans.Plan,
  lookup: Lookup = (name) => dns.lookup(name, { all: true })
): Effect.Effect<Targets, Plans.Mistake> =>
  Effect.forEach(plan.hosts, (name) =>
    Effect.tryPromise({ try: () => lookup(name), catch: codeOf }).pipe(
      Effect.catch((code) => absent.has(code) ? Effect.succeed([]) : Effect.fail(code)),
      Effect.timeoutOrElse({ duration: Plans.lookup, orElse: () => Effect.fail("no answer in time") }),
      Effect.mapBoth({
        onFailure: (reason): Plans.Mistake => ({ reason: `"${name}" can't be looked up: ${reason}` }),
        onSuccess: (found) => named(name, found)
      })
    )).pipe(Effect.flatMap((found) => {
      const targets = new Targets(plan, found.flat())
      return Effect.as(Effect.fromResult(Plans.bounded("hosts", BigInt(targets.total))), targets)
    }))

const absent = new Set(["ENOTFOUND", "ENODATA"])

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)

const named = (name: string, found: ReadonlyArray<{ readonly address: string }>): ReadonlyArray<Named> =>
  // Of a link-local address the interface is missing. Many a name server turns the order, which is to be the same each time.
  found.map(({ address }) => address).filter((address) => !address.includes("%")).sort()
    .slice(0, Plans.addressesOfName).map((address) => ({ address, name }))
