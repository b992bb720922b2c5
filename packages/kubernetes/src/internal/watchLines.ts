/**
 * The lines of a watch, one event each, as they arrive: several at once, or one in pieces.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type Asked, ending, garbled, type KubernetesError } from "./kubernetesError.ts"

/**
 * What happened to an object. A bookmark only tells how far the watch is.
 *
 * @category models
 * @since 0.2.0
 */
export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"
  readonly object: unknown
  /** A watch goes on from here. */
  readonly resourceVersion: string
}

/** Characters of an event at most. Kubernetes takes no object of more than three million bytes. */
const longest = 8 * 1024 * 1024

const Line = Schema.fromJsonString(Schema.Struct({
  type: Schema.Literals(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]),
  object: Schema.Unknown
}))
const readLine = Schema.decodeUnknownEffect(Line)
const readVersion = Schema.decodeUnknownOption(
  Schema.Struct({ metadata: Schema.Struct({ resourceVersion: Schema.String }) })
)

/** Reads the bytes of one watch in their order. Fails where it tells of an error. */
export const reader = (asked: Asked) => {
  const decoder = new TextDecoder()
  let rest = ""
  const eventOf = (line: string): Effect.Effect<WatchEvent, KubernetesError> =>
    Effect.flatMap(Effect.mapError(readLine(line), () => garbled(asked)), ({ object, type }) => {
      if (type === "ERROR") return Effect.fail(ending(asked, object))
      return Option.match(readVersion(object), {
        onNone: () => Effect.fail(garbled(asked)),
        onSome: ({ metadata: { resourceVersion } }) => Effect.succeed({ type, object, resourceVersion })
      })
    })
  return (bytes: Uint8Array): Effect.Effect<ReadonlyArray<WatchEvent>, KubernetesError> => {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n")
    rest = lines.pop() ?? ""
    if (rest.length > longest) return Effect.fail(garbled(asked))
    return Effect.forEach(lines.filter((line) => line.trim() !== ""), eventOf)
  }
}
