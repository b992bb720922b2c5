/**
 * Links that take nothing new, until they are closed.
 *
 * @since 0.2.0
 */
import type { Link } from "../Link.ts"

/**
 * The links of one upstream that are on their way out. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface Leaving {
  /** Fails what is under way and closes the link. */
  readonly end: (link: Link, reason: string) => void
  /** Closes the link once nothing is under way on it. */
  readonly letGo: (link: Link) => void
  /** Those on which something is under way. */
  readonly busy: () => ReadonlyArray<Link>
  /** Ends them all. Done once what they held is free; never rejects. */
  readonly close: () => Promise<void>
}

/**
 * Makes an empty one.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (): Leaving => {
  const busy = new Set<Link>()
  const closing = new Set<Promise<void>>()

  const end = (link: Link, reason: string) => {
    busy.delete(link)
    const closed = link.end(reason).finally(() => closing.delete(closed))
    closing.add(closed)
  }

  return {
    end,
    letGo: (link) => {
      busy.add(link)
      link.whenIdle(() => end(link, "closed"))
    },
    busy: () => [...busy],
    close: async () => {
      for (const link of Array.from(busy)) end(link, "closed")
      await Promise.all(closing)
    }
  }
}
