/**
 * Public names: how what many servers offer is told apart in one list.
 *
 * **Gotchas**: names are resolved by an exact table, never by splitting a public name at its separator.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"

/**
 * How public names are made: `prefix` puts the service before each, `conflict` only before those that collide, `none`
 * never (the earlier registry wins a collision).
 *
 * @category models
 * @since 0.1.0
 */
export interface NamingOptions {
  readonly naming: "prefix" | "conflict" | "none"
  readonly separator: string
  /** Longest public name in characters; longer ones are shortened with a hash. The protocol's own limit is 128. */
  readonly maxLength: number
}

/**
 * Default naming: `<service>__<name>`.
 *
 * @category models
 * @since 0.1.0
 */
export const defaults: NamingOptions = { naming: "prefix", separator: "__", maxLength: 128 }

const HashLength = 8

/** Replaces what no tool name may hold, and shortens deterministically where the limit asks for it. */
const fit = (name: string, options: NamingOptions): string => {
  const allowed = name.replace(/[^A-Za-z0-9_.-]/g, "_")
  if (allowed.length <= options.maxLength) return allowed
  const hash = createHash("sha256").update(name).digest("hex").slice(0, HashLength)
  return `${allowed.slice(0, options.maxLength - HashLength - 1)}_${hash}`
}

/**
 * A name in a service, with the place of the service's registry in precedence.
 *
 * @category models
 * @since 0.1.0
 */
export interface Named {
  readonly service: string
  readonly name: string
  readonly precedence: number
}

/**
 * A named thing under its public name; `winner` is set where another service has that name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Assignment<A extends Named> {
  readonly item: A
  readonly publicName: string
  readonly winner: A | undefined
}

const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

/**
 * Gives each item its public name. The result is in the order of the public names, and doesn't depend on the order of the
 * items.
 *
 * @category naming
 * @since 0.1.0
 */
export const assign = <A extends Named>(
  items: ReadonlyArray<A>,
  options: NamingOptions
): ReadonlyArray<Assignment<A>> => {
  const prefixed = (item: A) => fit(`${item.service}${options.separator}${item.name}`, options)
  const plain = (item: A) => fit(item.name, options)
  const uses = new Map<string, number>()
  if (options.naming === "conflict") {
    for (const item of items) uses.set(plain(item), (uses.get(plain(item)) ?? 0) + 1)
  }
  const publicName = options.naming === "prefix"
    ? prefixed
    : options.naming === "none"
    ? plain
    : (item: A) => uses.get(plain(item)) === 1 ? plain(item) : prefixed(item)
  return exact(items, publicName)
}

/**
 * Gives each item the name it has already (URIs): the earlier registry wins a collision.
 *
 * @category naming
 * @since 0.1.0
 */
export const unchanged = <A extends Named>(items: ReadonlyArray<A>): ReadonlyArray<Assignment<A>> =>
  exact(items, (item) => item.name)

const exact = <A extends Named>(
  items: ReadonlyArray<A>,
  publicName: (item: A) => string
): ReadonlyArray<Assignment<A>> => {
  const winners = new Map<string, A>()
  const ordered = items
    .map((item) => ({ item, publicName: publicName(item) }))
    .sort((a, b) =>
      compare(a.publicName, b.publicName) ||
      a.item.precedence - b.item.precedence ||
      compare(a.item.service, b.item.service) ||
      compare(a.item.name, b.item.name)
    )
  return ordered.map(({ item, publicName }) => {
    const winner = winners.get(publicName)
    if (winner === undefined) winners.set(publicName, item)
    return { item, publicName, winner }
  })
}
