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
  /** Of a line whose end hasn't come. */
  let rest = ""
  let data: string | undefined
  let started = false
  /** The last chunk ended with a CR: a LF that comes now belongs to it. */
  let afterReturn = false

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
    const text = decoder.write(chunk)
    if (text === "") return true
    let start = 0
    if (!started) {
      started = true
      if (text.charCodeAt(0) === 0xfeff) start = 1
    }
    if (afterReturn && text.charCodeAt(0) === 0x0a) start = 1
    afterReturn = false
    for (let index = start; index < text.length; index++) {
      const code = text.charCodeAt(index)
      if (code !== 0x0a && code !== 0x0d) continue
      line(rest + text.slice(start, index))
      rest = ""
      if (code === 0x0d) {
        if (index + 1 === text.length) afterReturn = true
        else if (text.charCodeAt(index + 1) === 0x0a) index++
      }
      start = index + 1
    }
    rest += text.slice(start)
    return rest.length + (data?.length ?? 0) <= options.limit
  }
}
