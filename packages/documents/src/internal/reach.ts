/**
 * Where a published document may point.
 *
 * **Mental model**: anybody may have written a document on the public internet, and whoever reads it stands in a private
 * network. So it may point at public addresses only. One that is at a private address itself may point anywhere, and so
 * may all where the registry is trusted in full.
 *
 * **Gotchas**: an address that is fetched is judged by what its name leads to. One that is only announced is judged by
 * what it says: its name is looked up by whoever connects to it.
 */
import * as IpSet from "@portolan/core/IpSet"
import { isIP } from "node:net"

export interface Reach {
  /** Whether the document at an address may point at open addresses only. */
  readonly isBound: (from: URL) => boolean
  /** Why the document at `from` may not point at `to`, in a line; none: it may. */
  readonly refusal: (from: URL, to: URL) => string | undefined
  /** Whether everybody may point at it. */
  readonly isOpen: (address: string) => boolean
}

/** Makes the rule: open are public addresses, and those that are allowed besides. */
export const make = (
  { allow, everywhere }: { readonly allow: IpSet.IpSet; readonly everywhere: boolean }
): Reach => {
  const open = IpSet.union(global, allow)
  const isBound = (from: URL) => !everywhere && !isLocal(from)
  return {
    isBound,
    refusal: (from, to) => {
      if (!isBound(from)) return undefined
      const address = addressOf(to)
      const refused = `a public document may not point at ${to.hostname}`
      if (address === undefined) return isLocalName(to) ? `${refused}, a name of this network` : undefined
      return IpSet.has(open, address) ? undefined : `${refused}; add its network to \`allowNetworks\``
    },
    isOpen: (address) => IpSet.has(open, address)
  }
}

const isLocal = (url: URL): boolean => {
  const address = addressOf(url)
  return address === undefined ? isLocalName(url) : !IpSet.has(global, address)
}

/** The address that a URL says; none: it says a name. */
const addressOf = ({ hostname }: URL): string | undefined => {
  const text = hostname.replace(/^\[|\]$/g, "")
  return isIP(text) === 0 ? undefined : text
}

/** Names that mean something in one network only: RFC 6761, RFC 6762, RFC 8375, `.internal`, and all without a dot. */
const isLocalName = ({ hostname }: URL): boolean =>
  /^[^.]*\.?$|\.(localhost|local|internal|home\.arpa)\.?$/i.test(hostname)

/** IPv4 that RFC 6890 and its registries keep from the public internet. */
const reserved = [
  ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
  ["192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"],
  ["224.0.0.0/4", "240.0.0.0/4"]
].flat()

/** The same behind a translator to IPv6 (RFC 6052). */
const translated = reserved.map((network) => {
  const [address, length] = network.split("/")
  return `64:ff9b::${address}/${96 + Number(length)}`
})

/** The addresses of the public internet. */
const global = IpSet.subtract(
  IpSet.of("0.0.0.0/0", "2000::/3", "64:ff9b::/96"),
  IpSet.of(...reserved, ...translated, "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
