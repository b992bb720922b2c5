/**
 * Replies that are written and that their clients have not read: what they hold together is bounded.
 *
 * @since 0.2.0
 */
import type { ServerResponse } from "node:http"

/**
 * Written replies that are held in memory. All of it plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface Unread {
  /** A reply is written to its end. Where too much is held now, those that have been unread for longest are cut. */
  readonly add: (response: ServerResponse) => void
}

/** Bytes of a reply that are worth to be counted: the system takes as much of each connection. */
const Least = 65_536

/**
 * Makes it. `maxBytes` is what all replies may hold together; one by itself may always be as long as it is.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (maxBytes: number): Unread => {
  /** In the order in which they were written. */
  const held = new Map<ServerResponse, number>()
  let total = 0

  const forget = (response: ServerResponse): void => {
    total -= held.get(response) ?? 0
    held.delete(response)
  }

  return {
    add: (response) => {
      const bytes = response.writableLength
      if (bytes < Least || response.destroyed) return
      held.set(response, bytes)
      total += bytes
      response.on("close", () => forget(response))
      for (const oldest of held.keys()) {
        if (total <= maxBytes || oldest === response) return
        forget(oldest)
        oldest.destroy()
      }
    }
  }
}
