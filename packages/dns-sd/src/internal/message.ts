/**
 * What is said in multicast DNS: messages of questions and records, and their names.
 *
 * **Mental model**: a name is its text, in which a dot or backslash inside of a label stands behind a backslash
 * (RFC 6763 section 4.3); so `weather 1\.0._mcp._tcp.local` has four labels. Records of types that DNS-SD has no use for
 * are left out.
 */
import { Buffer } from "node:buffer"

/** What a record says. */
export type Data =
  | { readonly type: "A" | "AAAA"; readonly address: string }
  | { readonly type: "PTR"; readonly target: string }
  | {
    readonly type: "SRV"
    readonly priority: number
    readonly weight: number
    readonly port: number
    readonly target: string
  }
  | { readonly type: "TXT"; readonly strings: ReadonlyArray<Uint8Array> }

export type Type = Data["type"]

export interface Resource {
  readonly name: string
  /** Seconds; 0 says goodbye. */
  readonly ttl: number
  /** Whether this is all that there is of its name and type: the cache-flush bit. */
  readonly isUnique: boolean
  readonly data: Data
}

export interface Question {
  readonly name: string
  readonly type: Type | "ANY"
}

export interface Message {
  /** Not zero only in queries of those who know nothing of multicast, and in answers to them. */
  readonly id: number
  readonly isResponse: boolean
  /** Of a query: more known answers follow. */
  readonly isTruncated: boolean
  readonly questions: ReadonlyArray<Question>
  readonly answers: ReadonlyArray<Resource>
  /** Of a query: what is about to be announced. */
  readonly authorities: ReadonlyArray<Resource>
  readonly additionals: ReadonlyArray<Resource>
}

/** Bytes of what a message says that needs no fragments on any usual link. */
const usualBytes = 1400

/** Makes a query. */
export const query = (
  questions: ReadonlyArray<Question>,
  rest: { readonly answers?: ReadonlyArray<Resource>; readonly authorities?: ReadonlyArray<Resource> } = {}
): Message => ({
  id: 0,
  isResponse: false,
  isTruncated: false,
  questions,
  answers: [],
  authorities: [],
  additionals: [],
  ...rest
})

/** Makes a response. */
export const response = (
  answers: ReadonlyArray<Resource>,
  additionals: ReadonlyArray<Resource> = []
): Message => ({
  id: 0,
  isResponse: true,
  isTruncated: false,
  questions: [],
  answers,
  authorities: [],
  additionals
})

/** Makes a name of its labels. */
export const nameOf = (labels: ReadonlyArray<string>): string =>
  labels.map((label) => label.replace(/[.\\]/g, "\\$&")).join(".")

/** The labels of a name. */
export const labelsOf = (name: string): ReadonlyArray<string> =>
  name === "" ? [] : (name.match(/(?:\\.|[^.\\])+/gs) ?? []).map((label) => label.replace(/\\(.)/gs, "$1"))

/** Names are the same whatever the case of their ASCII letters (RFC 6762 section 16). */
export const fold = (name: string): string => name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())

/** Text that two records share exactly when they say the same of the same name, whatever their TTLs. */
export const keyOf = ({ data, name }: Resource): string => `${fold(name)} ${data.type} ${contentOf(data)}`

const contentOf = (data: Data): string => {
  switch (data.type) {
    case "A":
    case "AAAA":
      return data.address
    case "PTR":
      return fold(data.target)
    case "SRV":
      return `${data.priority} ${data.weight} ${data.port} ${fold(data.target)}`
    case "TXT":
      return data.strings.map((string) => Buffer.from(string).toString("base64")).join()
  }
}

/** Whether it can be a name on the wire: its labels have 1 to 63 bytes, all of it has 255 at most. */
export const isName = (name: string): boolean => {
  const lengths = labelsOf(name).map((label) => Buffer.byteLength(label))
  return lengths.every((length) => length >= 1 && length <= 63) &&
    lengths.reduce((sum, length) => sum + length + 1, 1) <= 255
}

/** Divides what is to be said, by its bytes, such that each part goes into a message of usual size. */
export const parts = <A>(all: ReadonlyArray<A>, bytesOf: (one: A) => number): ReadonlyArray<ReadonlyArray<A>> => {
  const parts: Array<Array<A>> = []
  let room = 0
  for (const one of all) {
    const size = bytesOf(one)
    if (size > room) {
      parts.push([])
      room = usualBytes
    }
    parts.at(-1)?.push(one)
    room -= size
  }
  return parts
}
