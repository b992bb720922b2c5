/**
 * Parser of `text/event-stream`, fed chunk by chunk.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 * @since 0.1.0
 */
import { StringDecoder } from "node:string_decoder"

/**
 * Settings of a parser.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Characters that one event may have at most. */
  readonly limit: number
  /** Data of one event; not called for events without data. */
  readonly onData: (data: string) => void
  readonly onId?: ((id: string) => void) | undefined
  /** ms */
  readonly onRetry?: ((delay: number) => void) | undefined
}

/**
 * Makes a parser: a function that takes the next chunk and answers `false` when an event is longer than the limit, after
 * which it must not be used.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): (chunk: Buffer) => boolean => {
  const decoder = new StringDecoder("utf8")
  let rest = ""
  let data: string | undefined
  let started = false

  const line = (text: string) => {
    if (text === "") {
      const complete = data
      data = undefined
      if (complete !== undefined && complete !== "") options.onData(complete)
      return
    }
    const colon = text.indexOf(":")
    if (colon === 0) return
    const field = colon === -1 ? text : text.slice(0, colon)
    const value = colon === -1 ? "" : text.slice(text.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1)
    if (field === "data") data = data === undefined ? value : `${data}\n${value}`
    else if (field === "id" && !value.includes("\0")) options.onId?.(value)
    else if (field === "retry" && /^\d{1,9}$/.test(value)) options.onRetry?.(Number(value))
  }

  return (chunk) => {
    let text = decoder.write(chunk)
    if (!started && text !== "") {
      started = true
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1)
    }
    // What is left of the last chunk holds no line break, except a CR whose LF may come first in this one.
    let from = Math.max(0, rest.length - 1)
    rest += text
    let start = 0
    for (let index = from; index < rest.length; index++) {
      const code = rest.charCodeAt(index)
      if (code !== 0x0a && code !== 0x0d) continue
      if (code === 0x0d && index + 1 === rest.length) break
      line(rest.slice(start, index))
      if (code === 0x0d && rest.charCodeAt(index + 1) === 0x0a) index++
      start = index + 1
    }
    if (start > 0) rest = rest.slice(start)
    return rest.length + (data?.length ?? 0) <= options.limit
  }
}
