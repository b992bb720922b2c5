/**
 * Ids of the events of streams: which stream of which process an event is of, its number, and what the stream is for. The
 * last holds also where nothing is left of the stream.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery
 * @since 0.2.0
 */
import { randomBytes } from "node:crypto"
import type { RequestId } from "../../JsonRpc.ts"

/**
 * What a stream is for: the reply to a request or to a batch of them, or messages of the session; or nothing any more, as
 * its client was told all.
 *
 * @category models
 * @since 0.2.0
 */
export type Purpose =
  | { readonly _tag: "Request"; readonly id: RequestId }
  | { readonly _tag: "Batch" }
  | { readonly _tag: "Session" }
  | { readonly _tag: "Nothing" }

/**
 * What an id says.
 *
 * @category models
 * @since 0.2.0
 */
export interface EventId {
  /** Stands for the streams of one session in one process. */
  readonly tag: string
  readonly stream: number
  /** The first of a stream is 1; after 0 comes all of it. */
  readonly event: number
  readonly purpose: Purpose
}

/** An id of a request that is longer isn't told. */
const MaxRequestId = 128
const MaxLength = 512

const encode = (purpose: Purpose): string => {
  if (purpose._tag === "Session") return "s"
  if (purpose._tag === "Nothing") return "n"
  const id = purpose._tag === "Request" ? JSON.stringify(purpose.id) : ""
  return id === "" || id.length > MaxRequestId ? "b" : `r${Buffer.from(id, "utf8").toString("base64url")}`
}

const decode = (text: string): Purpose | undefined => {
  if (text === "s") return { _tag: "Session" }
  if (text === "b") return { _tag: "Batch" }
  if (text === "n") return { _tag: "Nothing" }
  try {
    const id: unknown = JSON.parse(Buffer.from(text.slice(1), "base64url").toString("utf8"))
    return typeof id === "string" || typeof id === "number" ? { _tag: "Request", id } : undefined
  } catch {
    // Made up.
    return undefined
  }
}

/**
 * Makes a tag, which nobody else has.
 *
 * @category constructors
 * @since 0.2.0
 */
export const makeTag = (): string => randomBytes(6).toString("base64url")

/**
 * Makes the function that gives the ids of the events of one stream, by their numbers.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (tag: string, stream: number, purpose: Purpose): (event: number) => string => {
  const start = `${tag}.${stream.toString(36)}.`
  const end = `.${encode(purpose)}`
  return (event) => `${start}${event.toString(36)}${end}`
}

/**
 * Reads an id that a client gave. `undefined` for what was never one.
 *
 * @category constructors
 * @since 0.2.0
 */
export const parse = (text: string): EventId | undefined => {
  const [tag, stream, event, end] = text.length > MaxLength ? [] : text.split(".")
  if (tag === undefined || stream === undefined || event === undefined || end === undefined) return undefined
  const purpose = decode(end)
  const id = { tag, stream: Number.parseInt(stream, 36), event: Number.parseInt(event, 36) }
  return purpose === undefined || Number.isNaN(id.stream) || Number.isNaN(id.event) ? undefined : { ...id, purpose }
}
