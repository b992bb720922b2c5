/**
 * Splits bytes into lines, with a bound on what one line may hold.
 *
 * @since 0.1.0
 */

/**
 * Settings of a splitter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Bytes of the longest line. */
  readonly limit: number
  /** A line without its break; empty ones are left out. */
  readonly onLine: (line: Buffer) => void
  /** A line was longer and is thrown away; both ends of it, to tell whose it was. */
  readonly onTooLong: (head: string, tail: string) => void
}

const Ends = 128

/**
 * Makes a splitter: a function that takes the next chunk.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): (chunk: Buffer) => void => {
  let parts: Array<Buffer> = []
  let size = 0
  let head: string | undefined
  let tail = ""

  const add = (part: Buffer) => {
    if (head !== undefined) {
      tail = (tail + part.subarray(-Ends).toString("latin1")).slice(-Ends)
      return
    }
    size += part.length
    parts.push(part)
    if (size <= options.limit) return
    head = Buffer.concat(parts.slice(0, Ends)).subarray(0, Ends).toString("latin1")
    tail = part.subarray(-Ends).toString("latin1")
    parts = []
  }

  const end = () => {
    if (head !== undefined) {
      options.onTooLong(head, tail)
    } else if (size > 0) {
      const [first] = parts
      const line = parts.length === 1 && first !== undefined ? first : Buffer.concat(parts, size)
      if (size > 1 || line[0] !== 0x0d) options.onLine(line)
    }
    parts = []
    size = 0
    head = undefined
    tail = ""
  }

  return (chunk) => {
    let start = 0
    for (;;) {
      const at = chunk.indexOf(0x0a, start)
      if (at === -1) break
      add(chunk.subarray(start, at))
      end()
      start = at + 1
    }
    if (start < chunk.length) add(chunk.subarray(start))
  }
}
