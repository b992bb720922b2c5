/**
 * A set of IP addresses, as lists of networks write it down: who may be asked, and who never.
 *
 * **Mental model**: ranges of one line of numbers, in order and apart. IPv4 comes first on it, then IPv6. What is said
 * of 10.0.0.1 holds for `::ffff:10.0.0.1` too, since it is the same host: an IPv4-mapped address (RFC 4291, section
 * 2.5.5.2) is read as the IPv4 address that it is.
 *
 * @since 0.2.0
 */
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"

/**
 * From one address to another, both included.
 *
 * @category models
 * @since 0.2.0
 */
export interface IpRange {
  readonly first: bigint
  readonly last: bigint
}

/**
 * A set of addresses. Never changed.
 *
 * @category models
 * @since 0.2.0
 */
export interface IpSet {
  readonly ranges: ReadonlyArray<IpRange>
}

/** Number of IPv4 addresses, and the place of the first IPv6 one. */
const ipv4 = 2n ** 32n
const ipv6 = 2n ** 128n

/** Where IPv4-mapped addresses are among those of IPv6. */
const mapped: IpRange = { first: 0xffffn << 32n, last: (0xffffn << 32n) + ipv4 - 1n }

const numberOf = (address: NetAddress.IpAddress): bigint =>
  NetAddress.isIpv4Address(address)
    ? NetAddress.ipv4ToOctets(address).reduce((sum, octet) => sum << 8n | BigInt(octet), 0n)
    : NetAddress.ipv6ToSegments(address).reduce((sum, segment) => sum << 16n | BigInt(segment), 0n)

const bytesOf = (value: bigint, count: number): Uint8Array =>
  Uint8Array.from({ length: count }, (_, index) => Number(value >> BigInt(8 * (count - 1 - index)) & 0xffn))

const make = (ranges: ReadonlyArray<IpRange>): IpSet => {
  const sorted = ranges.filter(({ first, last }) => first <= last)
    .sort((left, right) => left.first < right.first ? -1 : left.first > right.first ? 1 : 0)
  const apart: Array<IpRange> = []
  for (const range of sorted) {
    const before = apart.at(-1)
    if (before === undefined || range.first > before.last + 1n) apart.push(range)
    else if (range.last > before.last) apart[apart.length - 1] = { first: before.first, last: range.last }
  }
  return { ranges: apart }
}

/** Places on the line of what was written as IPv6: a range that goes beyond the mapped addresses means none of them. */
const ofIpv6 = ({ first, last }: IpRange): IpSet => {
  if (first >= mapped.first && last <= mapped.last) {
    return make([{ first: first - mapped.first, last: last - mapped.first }])
  }
  const lower = { first, last: last < mapped.first ? last : mapped.first - 1n }
  const upper = { first: first > mapped.last ? first : mapped.last + 1n, last }
  return make([lower, upper].map((part) => ({ first: part.first + ipv4, last: part.last + ipv4 })))
}

/**
 * Set without addresses.
 *
 * @category constructors
 * @since 0.2.0
 */
export const empty: IpSet = { ranges: [] }

/**
 * Reads a network, a range or an address: `10.0.0.0/24`, `10.0.0.5-10.0.0.20`, `fd00::7`. The failure is one line.
 *
 * @category decoding
 * @since 0.2.0
 */
export const parse = (text: string): Result.Result<IpSet, string> => {
  const refused = Result.fail(
    `expected a network (10.0.0.0/24), a range (10.0.0.5-10.0.0.20) or an address, not ${JSON.stringify(text)}`
  )
  const [, from = "", separator, to = ""] = /^([^/-]+)(?:([/-])([^/-]+))?$/.exec(text.trim()) ?? []
  const begin = Result.getOrUndefined(NetAddress.ipFromString(from.trim()))
  if (begin === undefined) return refused
  const width = NetAddress.width(begin)
  const first = numberOf(begin)
  const set = (range: IpRange) => Result.succeed(width === 32 ? make([range]) : ofIpv6(range))
  if (separator === undefined) return set({ first, last: first })
  if (separator === "/") {
    if (!/^\d{1,3}$/.test(to) || Number(to) > width) return refused
    const size = 1n << BigInt(width - Number(to))
    return set({ first: first - first % size, last: first - first % size + size - 1n })
  }
  const end = Result.getOrUndefined(NetAddress.ipFromString(to.trim()))
  if (end === undefined || NetAddress.width(end) !== width || numberOf(end) < first) return refused
  return set({ first, last: numberOf(end) })
}

/**
 * Reads several, as one set. Fails with the first that can't be read.
 *
 * @category decoding
 * @since 0.2.0
 */
export const parseAll = (texts: Iterable<string>): Result.Result<IpSet, string> => {
  const ranges: Array<IpRange> = []
  for (const text of texts) {
    const set = parse(text)
    if (Result.isFailure(set)) return set
    ranges.push(...set.success.ranges)
  }
  return Result.succeed(make(ranges))
}

/**
 * Makes the set of texts that are known to be right; throws where one isn't.
 *
 * @category constructors
 * @since 0.2.0
 */
export const of = (...texts: ReadonlyArray<string>): IpSet =>
  Result.getOrThrowWith(parseAll(texts), (reason) => new TypeError(reason))

/**
 * The addresses of either.
 *
 * @category combining
 * @since 0.2.0
 */
export const union = (self: IpSet, that: IpSet): IpSet => make([...self.ranges, ...that.ranges])

/**
 * The addresses of both.
 *
 * @category combining
 * @since 0.2.0
 */
export const intersect = (self: IpSet, that: IpSet): IpSet =>
  make(self.ranges.flatMap((one) =>
    that.ranges.map((other) => ({
      first: one.first > other.first ? one.first : other.first,
      last: one.last < other.last ? one.last : other.last
    }))
  ))

/**
 * The addresses of `self` that aren't in `that`.
 *
 * @category combining
 * @since 0.2.0
 */
export const subtract = (self: IpSet, that: IpSet): IpSet => {
  const others: Array<IpRange> = []
  let next = 0n
  for (const { first, last } of that.ranges) {
    others.push({ first: next, last: first - 1n })
    next = last + 1n
  }
  others.push({ first: next, last: ipv4 + ipv6 - 1n })
  return intersect(self, make(others))
}

/**
 * How many addresses there are.
 *
 * @category accessors
 * @since 0.2.0
 */
export const size = (self: IpSet): bigint => self.ranges.reduce((sum, { first, last }) => sum + last - first + 1n, 0n)

/**
 * Whether it holds the address; a text that is no address is in no set.
 *
 * @category accessors
 * @since 0.2.0
 */
export const has = (self: IpSet, address: string): boolean => {
  const one = address.includes("/") || address.includes("-") ? undefined : Result.getOrUndefined(parse(address))
  const place = one?.ranges[0]?.first
  return place !== undefined && self.ranges.some(({ first, last }) => first <= place && place <= last)
}

/**
 * The address at this place, counted from 0 in their order, as text; none beyond the last.
 *
 * @category accessors
 * @since 0.2.0
 */
export const at = (self: IpSet, index: bigint): string | undefined => {
  let rest = index
  for (const { first, last } of self.ranges) {
    const place = first + rest
    if (place > last) {
      rest = place - last - 1n
      continue
    }
    return NetAddress.formatIp(
      place < ipv4
        ? NetAddress.ipv4FromBytesUnsafe(bytesOf(place, 4))
        : NetAddress.ipv6FromBytesUnsafe(bytesOf(place - ipv4, 16))
    )
  }
  return undefined
}

/**
 * Addresses of this machine itself.
 *
 * @category constructors
 * @since 0.2.0
 */
export const loopback: IpSet = of("127.0.0.0/8", "::1")
