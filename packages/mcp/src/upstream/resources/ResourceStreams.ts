/**
 * The `subscriptions/listen` for all resources that are wanted at a server of the stateless era: a new one whenever that
 * changes. The one before stays until the server has taken the new one, so that nothing is lost in between.
 *
 * @since 0.2.0
 */
import type { Reply } from "../../JsonRpc.ts"
import type { Link } from "../Link.ts"
import type { Failure } from "../transports/Connection.ts"
import * as ResourceStream from "./ResourceStream.ts"

/**
 * What they need.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options extends Pick<ResourceStream.Options, "later"> {
  /** The server took these, and tells of `told` from now on. Plain. */
  readonly onTaken: (uris: ReadonlySet<string>, told: ReadonlySet<unknown>) => void
  /** It tells of these no more, or (not `wasTaken`) did not begin to; nobody stopped it. Plain. */
  readonly onEnded: (uris: ReadonlySet<string>, wasTaken: boolean, outcome: Reply | Failure) => void
}

/**
 * The stream there is, and the one that is to replace it. All of it plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface ResourceStreams {
  /** Whether the server is being asked: what is wanted can change only then again. */
  readonly isOpening: () => boolean
  /** Asks for these alone. Tells whether there was nothing to ask for. */
  readonly want: (link: Link, uris: ReadonlySet<string>) => boolean
  readonly stop: () => void
  /** The connection is lost. */
  readonly lost: () => void
}

const none: ReadonlySet<string> = new Set()

/**
 * Makes them; nothing is wanted yet.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = ({ later, onEnded, onTaken }: Options): ResourceStreams => {
  let stream: ResourceStream.ResourceStream | undefined
  let opening: ResourceStream.ResourceStream | undefined

  const lost = () => {
    stream = undefined
    opening = undefined
  }

  const stop = () => {
    stream?.stop()
    opening?.stop()
    lost()
  }

  return {
    isOpening: () => opening !== undefined,
    want: (link, uris) => {
      const { uris: there } = stream ?? { uris: none }
      if (uris.size === there.size && uris.isSubsetOf(there)) return true
      if (uris.size === 0) {
        stop()
        return false
      }
      const next: ResourceStream.ResourceStream = ResourceStream.make({
        link,
        uris,
        later,
        onTaken: (told) => {
          if (opening !== next) return
          opening = undefined
          stream?.stop()
          stream = next
          onTaken(uris, told)
        },
        onEnded: (outcome) => {
          const wasTaken = stream === next
          // Of a connection that is lost the next one takes it all up.
          if (!wasTaken && opening !== next) return
          if (wasTaken) stream = undefined
          else opening = undefined
          onEnded(uris, wasTaken, outcome)
        }
      })
      opening = next
      next.start()
      return false
    },
    stop,
    lost
  }
}
