/** Which addresses servers may be at. */
import * as IpSet from "@portolan/core/IpSet"
import * as Result from "effect/Result"

/** Private, link-local and loopback addresses: RFC 1918, 3927, 4193 and 4291. */
const local = IpSet.union(
  IpSet.loopback,
  IpSet.of("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7")
)

/** Whether an address is in one of the networks to allow and in none of those to deny. */
export const isAllowedBy = (
  allow: ReadonlyArray<string> | undefined,
  deny: ReadonlyArray<string> = []
): Result.Result<(address: string) => boolean, string> =>
  Result.map(
    Result.all([
      allow === undefined ? Result.succeed(local) : setOf("allowNetworks", allow),
      setOf("denyNetworks", deny)
    ]),
    ([allowed, denied]) => {
      const taken = IpSet.subtract(allowed, denied)
      return (address) => IpSet.has(taken, address)
    }
  )

/** Whether it means this machine, whoever says it. */
export const isLoopback = (address: string): boolean => IpSet.has(IpSet.loopback, address)

const setOf = (option: string, networks: ReadonlyArray<string>): Result.Result<IpSet.IpSet, string> =>
  Result.mapError(IpSet.parseAll(networks), (reason) => `${option}: ${reason}`)
