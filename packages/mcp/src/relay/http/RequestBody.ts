/**
 * Parses a message within limits; reads it from the body of a POST.
 *
 * @since 0.1.0
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { invalidRequest, notJson, tooLarge } from "../Refusals.ts"
import { refuse } from "./HttpReplies.ts"

/**
 * What a body came to: its JSON, or the reason why it was refused.
 *
 * @category models
 * @since 0.1.0
 */
export type RequestBody =
  | { readonly _tag: "Json"; readonly value: unknown }
  | { readonly _tag: "TooLarge" }
  | { readonly _tag: "NotJson"; readonly reason: string }

/**
 * Limits of a body.
 *
 * @category models
 * @since 0.1.0
 */
export interface BodyLimits {
  /** Bytes. */
  readonly maxBytes: number
  /** Arrays and objects in each other. */
  readonly maxDepth: number
}

const quote = 0x22
const backslash = 0x5c

/** Whether arrays and objects lie deeper in each other than `max`. Looks at the bytes, before anything is built. */
const isDeeper = (bytes: Buffer, max: number): boolean => {
  if (bytes.length <= max) return false
  let depth = 0
  let text = false
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index]
    if (text) {
      if (byte === backslash) index++
      else if (byte === quote) text = false
    } else if (byte === quote) text = true
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > max) return true
    } else if (byte === 0x5d || byte === 0x7d) depth--
  }
  return false
}

/**
 * Parses a JSON text of which the size is known to be allowed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const parse = (bytes: Buffer, limits: BodyLimits): Exclude<RequestBody, { readonly _tag: "TooLarge" }> => {
  if (isDeeper(bytes, limits.maxDepth)) {
    return { _tag: "NotJson", reason: `more than ${limits.maxDepth} levels deep` }
  }
  try {
    return { _tag: "Json", value: JSON.parse(bytes.toString("utf8")) }
  } catch (error) {
    return { _tag: "NotJson", reason: error instanceof SyntaxError ? error.message : "not JSON" }
  }
}

const refuseUnread = (request: IncomingMessage, response: ServerResponse, reason: string): void => {
  request.resume()
  refuse(response, 415, invalidRequest(reason))
}

/**
 * Receives the JSON of a POST; refuses what is none, or too large. `next` is called once, and never where the client goes
 * away before the end.
 *
 * @category constructors
 * @since 0.1.0
 */
export const receive = (
  request: IncomingMessage,
  response: ServerResponse,
  limits: BodyLimits,
  next: (value: unknown) => void
): void => {
  if (!/^application\/json\s*(;|$)/i.test(request.headers["content-type"] ?? "")) {
    return refuseUnread(request, response, "Content-Type must be application/json")
  }
  const encoding = request.headers["content-encoding"]
  if (encoding !== undefined && encoding !== "identity") {
    return refuseUnread(request, response, "The body must not be compressed")
  }
  read(request, limits, (body) => {
    // Its client went meanwhile: its `close`, which ends what is begun here, has been.
    if (response.destroyed) return
    switch (body._tag) {
      case "Json":
        return next(body.value)
      case "NotJson":
        return refuse(response, 400, notJson(body.reason))
      case "TooLarge":
        return refuse(response, 413, tooLarge(limits.maxBytes), null, { connection: "close" })
    }
  })
}

/** `done` is called once, and never where the client goes away before the end. */
const read = (request: IncomingMessage, limits: BodyLimits, done: (body: RequestBody) => void): void => {
  if (Number(request.headers["content-length"] ?? 0) > limits.maxBytes) {
    discard(request, limits.maxBytes)
    return done({ _tag: "TooLarge" })
  }
  const chunks: Array<Buffer> = []
  let size = 0
  const onData = (chunk: Buffer) => {
    size += chunk.length
    if (size <= limits.maxBytes) return void chunks.push(chunk)
    request.off("data", onData)
    request.off("end", onEnd)
    discard(request, limits.maxBytes)
    done({ _tag: "TooLarge" })
  }
  const onEnd = () => {
    const only = chunks[0]
    done(parse(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, size), limits))
  }
  request.on("data", onData)
  request.on("end", onEnd)
  // The response's `close` tells that the client is gone; without a listener the error would end the process.
  request.on("error", () => {})
}

/** Reads on, so that a client which is still sending gets to read the refusal; not for ever. */
const discard = (request: IncomingMessage, most: number): void => {
  let left = most
  request.on("error", () => {})
  request.on("data", (chunk: Buffer) => {
    left -= chunk.length
    if (left < 0) request.destroy()
  })
}
