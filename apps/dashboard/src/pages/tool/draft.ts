/**
 * Arguments while they are written: JSON, and what isn't JSON yet.
 */
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
  toJSON(): string {
    return this.text
  }
}

/** Whether some of it can't be sent as it is. */
export const hasUnparsed = (value: unknown): boolean =>
  value instanceof Unparsed ||
  (typeof value === "object" && value !== null && Object.values(value).some(hasUnparsed))

/** `undefined`: nothing is left of the text but blanks. */
export const parsed = (text: string): unknown => {
  if (text.trim() === "") return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    return new Unparsed(text, `This isn't JSON: ${cause instanceof Error ? cause.message : "it can't be read"}`)
  }
}

export const numberOf = (text: string): unknown => {
  if (text.trim() === "") return undefined
  const value = Number(text)
  return Number.isFinite(value) ? value : new Unparsed(text, "This isn't a number")
}

/** As it is shown and edited. */
export const textOf = (value: unknown): string =>
  value === undefined ? "" : value instanceof Unparsed ? value.text : JSON.stringify(value, undefined, 2)

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
