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
  /** Data of one event, and its type where it names one; not called for events without data. */
  readonly onData: (data: string, type: string) => void
  /** An event was longer and is thrown away; both ends of its data. Without this, the stream ends there. */
  readonly onTooLong?: ((head: string, tail: string) => void) | undefined
  readonly onId?: ((id: string) => void) | undefined
  /** ms */
  readonly onRetry?: ((delay: number) => void) | undefined
}

const Ends = 128

/**
 * Makes a parser: a function that takes the next chunk and answers `false` when an event is longer than the limit and
 * nobody hears of that, after which it must not be used.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): (chunk: Buffer) => boolean => {
  const decoder = new StringDecoder("utf8")
  /** Of a line whose end hasn't come. */
  let rest = ""
  let data: string | undefined
  let type = ""
  let started = false
  /** The beginning of an event that is thrown away, and the last of it. */
  let head: string | undefined
  let tail = ""
  /** The last chunk ended with a CR: a LF that comes now belongs to it. */
  let afterReturn = false

  const line = (text: string) => {
    if (head !== undefined) {
      if (text !== "") tail = (tail + text).slice(-Ends)
      else {
        const beginning = head
        head = undefined
        options.onTooLong?.(beginning, tail)
      }
      return
    }
    if (text === "") {
      const complete = data
      const named = type
      data = undefined
      type = ""
      if (complete !== undefined && complete !== "") options.onData(complete, named)
      return
    }
    const colon = text.indexOf(":")
    if (colon === 0) return
    const field = colon === -1 ? text : text.slice(0, colon)
    const value = colon === -1 ? "" : text.slice(text.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1)
    if (field === "data") data = data === undefined ? value : `${data}\n${value}`
    else if (field === "event") type = value
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
    if (head === undefined) {
      if (rest.length + (data?.length ?? 0) + type.length <= options.limit) return true
      if (options.onTooLong === undefined) return false
      head = (data ?? rest.replace(/^data: ?/, "")).slice(0, Ends)
      tail = ""
      data = undefined
      type = ""
    }
    // What isn't empty stays so: only an empty line ends the event.
    rest = rest.slice(-Ends)
    return true
  }
}
