/**
 * Arguments while they are written: JSON, and what isn't JSON yet.
 */
import { lossy } from "./json.ts"
import { isObject } from "./schema.ts"

/** What somebody wrote that isn't what it is to become. */
export class Unparsed {
  readonly text: string
  readonly reason: string

  constructor(text: string, reason: string) {
    this.text = text
    this.reason = reason
  }

  /** In a text of JSON it stands as it was written. */
  toJSON(): string | null {
    return this.text === "" ? null : this.text
  }
}

/** An item of a list that is yet to be written: a list has no gaps. */
export const gap = new Unparsed("", "Required")

const tooLong = "more digits than a browser can send as they are"

/** `undefined`: nothing is left of the text but blanks. */
export const parsed = (text: string): unknown => {
  if (text.trim() === "") return undefined
  try {
    const value: unknown = JSON.parse(text)
    const number = lossy(text)
    return number === undefined ? value : new Unparsed(text, `${number} has ${tooLong}`)
  } catch (cause) {
    return new Unparsed(text, `This isn't JSON: ${cause instanceof Error ? cause.message : "it can't be read"}`)
  }
}

export const numberOf = (text: string): unknown => {
  if (text.trim() === "") return undefined
  const value = Number(text)
  if (!Number.isFinite(value)) return new Unparsed(text, "This isn't a number")
  return lossy(text) === undefined ? value : new Unparsed(text, `Has ${tooLong}`)
}

/** As it is shown and edited. */
export const textOf = (value: unknown): string =>
  value === undefined ? "" : value instanceof Unparsed ? value.text : JSON.stringify(value, undefined, 2)

/** What stands in a field, beside what it came to: `1e5` stays as it is, and only another value is shown anew. */
export class Written {
  readonly #read: (text: string) => unknown
  readonly #show: (value: unknown) => string
  #last: { readonly text: string; readonly value: unknown } = { text: "", value: undefined }

  constructor(read: (text: string) => unknown, show: (value: unknown) => string) {
    this.#read = read
    this.#show = show
  }

  text(value: unknown): string {
    if (value !== this.#last.value) this.#last = { text: this.#show(value), value }
    return this.#last.text
  }

  write(text: string): unknown {
    this.#last = { text, value: this.#read(text) }
    return this.#last.value
  }
}

/** Of an object; what it merely inherits isn't there. */
export const valueAt = (object: unknown, name: string): unknown =>
  isObject(object) && Object.hasOwn(object, name) ? object[name] : undefined

/** The object with another value; `undefined` leaves it out. */
export const withValue = (object: unknown, name: string, value: unknown): Readonly<Record<string, unknown>> => {
  const { [name]: _, ...rest } = isObject(object) ? object : {}
  if (value === undefined) return rest
  // A value that is there keeps its place.
  return isObject(object) && Object.hasOwn(object, name) ? { ...object, [name]: value } : { ...rest, [name]: value }
}
