/**
 * Messages as bytes: RFC 1035 section 4, with what RFC 6762 section 18 makes of it.
 *
 * **Gotchas**: whoever is on the network can send anything. A message is read as a whole or not at all; names are bounded
 * in length and in pointers followed, which lead backwards only, and nothing is read beyond its record.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { Buffer } from "node:buffer"
import {
  type Data,
  isName,
  labelsOf,
  type Message,
  nameOf,
  type Question,
  type Resource,
  type Type
} from "./message.ts"

/** Bytes of a message, at most (RFC 6762 section 17). */
export const maxBytes = 9000

/** Pointers followed for one name; compression by suffixes needs one a label. */
const maxPointers = 127

const types: ReadonlyMap<number, Question["type"]> = new Map([
  [1, "A"],
  [12, "PTR"],
  [16, "TXT"],
  [28, "AAAA"],
  [33, "SRV"],
  [255, "ANY"]
])
const numbers = new Map(Array.from(types, ([number, type]) => [type, number]))

/** Class IN, and the bit above it that says `isUnique`. */
const internet = 1
const topBit = 0x8000
const anyClass = 255

/** Writes a message. Throws a `RangeError` where it has more than `maxBytes`, or a name is none. */
export const encode = (message: Message): Uint8Array => {
  const writer = new Writer(true)
  writer.uint16(message.id)
  // An answer is always authoritative.
  writer.uint16((message.isResponse ? 0x8400 : 0) | (message.isTruncated ? 0x0200 : 0))
  for (const part of [message.questions, message.answers, message.authorities, message.additionals]) {
    writer.uint16(part.length)
  }
  for (const { name, type } of message.questions) {
    writer.name(name)
    writer.uint16(numbers.get(type) ?? 0)
    writer.uint16(internet)
  }
  for (const part of [message.answers, message.authorities, message.additionals]) part.forEach(writer.resource, writer)
  return writer.written
}

class Writer {
  private readonly bytes = Buffer.alloc(maxBytes)
  private at = 0
  /** Where which end of a name stands already; none: names are written in full. */
  private readonly places: Map<string, number> | undefined

  constructor(compress: boolean) {
    this.places = compress ? new Map() : undefined
  }

  get written(): Buffer {
    return this.bytes.subarray(0, this.at)
  }

  uint16(value: number): void {
    this.at = this.bytes.writeUInt16BE(value, this.at)
  }

  name(name: string): void {
    if (!isName(name)) throw new RangeError("not a name")
    const labels = labelsOf(name)
    for (const [index, label] of labels.entries()) {
      const rest = JSON.stringify(labels.slice(index))
      const place = this.places?.get(rest)
      if (place !== undefined) return this.uint16(0xc000 | place)
      if (this.at < 0x4000) this.places?.set(rest, this.at)
      this.string(Buffer.from(label))
    }
    this.string(Buffer.alloc(0))
  }

  resource({ data, isUnique, name, ttl }: Resource): void {
    this.name(name)
    this.uint16(numbers.get(data.type) ?? 0)
    this.uint16(isUnique ? internet | topBit : internet)
    this.at = this.bytes.writeUInt32BE(ttl, this.at)
    const length = this.at
    this.uint16(0)
    this.data(data)
    this.bytes.writeUInt16BE(this.at - length - 2, length)
  }

  data(data: Data): void {
    switch (data.type) {
      case "A":
        return this.put(Buffer.from(data.address.split(".").map(Number)))
      case "AAAA":
        return this.put(bytesOf(data.address))
      case "PTR":
        return this.name(data.target)
      case "SRV":
        for (const value of [data.priority, data.weight, data.port]) this.uint16(value)
        return this.name(data.target)
      case "TXT":
        // An empty one is written as one empty text (RFC 6763 section 6.1).
        for (const string of data.strings.length === 0 ? [Buffer.alloc(0)] : data.strings) this.string(string)
    }
  }

  private string(bytes: Uint8Array): void {
    this.at = this.bytes.writeUInt8(bytes.length, this.at)
    this.put(bytes)
  }

  private put(bytes: Uint8Array): void {
    if (this.at + bytes.length > maxBytes) throw new RangeError(`more than ${maxBytes} bytes`)
    this.bytes.set(bytes, this.at)
    this.at += bytes.length
  }
}

/**
 * Which of two sets of records comes later, as those who probe for one name at the same time decide it (RFC 6762 section
 * 8.2): positive where it is the first, 0 where they say the same.
 */
export const compare = (these: ReadonlyArray<Resource>, those: ReadonlyArray<Resource>): number => {
  const order = (resources: ReadonlyArray<Resource>) =>
    resources.map(({ data }) => {
      const writer = new Writer(false)
      writer.uint16(numbers.get(data.type) ?? 0)
      writer.data(data)
      return writer.written
    }).sort(Buffer.compare)
  const [ours, theirs] = [order(these), order(those)]
  for (const [index, mine] of ours.entries()) {
    const other = theirs[index]
    if (other === undefined) return 1
    const difference = Buffer.compare(mine, other)
    if (difference !== 0) return difference
  }
  return ours.length - theirs.length
}

/** Bytes that a record takes, at most. */
export const sizeOf = (resource: Resource): number => {
  const writer = new Writer(false)
  writer.resource(resource)
  return writer.written.length
}

/** The sixteen bytes of an IPv6 address. */
const bytesOf = (address: string): Buffer => {
  const parts = (text: string) => text === "" ? [] : text.split(":").map((part) => parseInt(part, 16))
  const [head = "", tail = ""] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split("::")
  const [before, after] = [parts(head), parts(tail)]
  const bytes = Buffer.alloc(16)
  before.forEach((part, index) => bytes.writeUInt16BE(part, index * 2))
  after.forEach((part, index) => bytes.writeUInt16BE(part, 16 - (after.length - index) * 2))
  return bytes
}

/** Reads a message; the failure says in a few words what is wrong about it. */
export const decode = (bytes: Uint8Array): Result.Result<Message, string> =>
  bytes.length > maxBytes
    ? Result.fail(`more than ${maxBytes} bytes`)
    : Result.try({
      try: () => new Reader(bytes).message(),
      catch: (cause) => cause instanceof Error ? cause.message : String(cause)
    })

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

class Reader {
  private readonly bytes: Buffer
  private at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  message(): Message {
    const id = this.uint16()
    const flags = this.uint16()
    // Any other is no message of multicast DNS (RFC 6762 sections 18.3 and 18.11).
    if ((flags & 0x780f) !== 0) throw new RangeError("an opcode or a response code")
    const [questions = 0, answers = 0, authorities = 0, additionals = 0] = [0, 0, 0, 0].map(() => this.uint16())
    return {
      id,
      isResponse: (flags & 0x8000) !== 0,
      isTruncated: (flags & 0x0200) !== 0,
      questions: this.some(questions, () => this.question()),
      answers: this.some(answers, () => this.resource()),
      authorities: this.some(authorities, () => this.resource()),
      additionals: this.some(additionals, () => this.resource())
    }
  }

  private some<A>(count: number, read: () => A | undefined): ReadonlyArray<A> {
    const all: Array<A> = []
    // What is counted and isn't there ends it.
    for (let index = 0; index < count; index++) {
      const one = read()
      if (Predicate.isNotUndefined(one)) all.push(one)
    }
    return all
  }

  private question(): Question | undefined {
    const name = this.name()
    const type = types.get(this.uint16())
    // The top bit asks for a unicast answer; we give everybody the same.
    const its = this.uint16() & ~topBit
    return type === undefined || (its !== internet && its !== anyClass) ? undefined : { name, type }
  }

  private resource(): Resource | undefined {
    const name = this.name()
    const type = types.get(this.uint16())
    const its = this.uint16()
    const ttl = this.bytes.readUInt32BE(this.at)
    this.at += 4
    const end = this.uint16() + this.at
    if (end > this.bytes.length) throw new RangeError("a record beyond the end")
    const isKnown = type !== undefined && type !== "ANY" && (its & ~topBit) === internet
    const data = isKnown ? this.data(type, end) : undefined
    if (data === undefined) this.at = end
    if (this.at !== end) throw new RangeError("a record of another length than it says")
    return data === undefined ? undefined : { name, ttl, isUnique: (its & topBit) !== 0, data }
  }

  private data(type: Type, end: number): Data {
    switch (type) {
      case "A":
        return { type, address: Array.from(this.take(4)).join(".") }
      case "AAAA": {
        const parts = [0, 0, 0, 0, 0, 0, 0, 0].map(() => this.uint16().toString(16))
        return { type, address: new URL(`http://[${parts.join(":")}]/`).hostname.slice(1, -1) }
      }
      case "PTR":
        return { type, target: this.name() }
      case "SRV":
        return { type, priority: this.uint16(), weight: this.uint16(), port: this.uint16(), target: this.name() }
      case "TXT": {
        const strings: Array<Uint8Array> = []
        while (this.at < end) {
          const string = this.take(this.take(1)[0] ?? 0)
          if (string.length > 0) strings.push(Buffer.from(string))
        }
        return { type, strings }
      }
    }
  }

  /** A name, whose end may stand further back (RFC 1035 section 4.1.4). */
  private name(): string {
    const labels: Array<string> = []
    let length = 1
    let after: number | undefined
    let earliest = this.at
    for (let pointers = 0;;) {
      const first = this.take(1)[0] ?? 0
      if (first === 0) break
      if (first >= 0xc0) {
        const place = (first & 0x3f) << 8 | (this.take(1)[0] ?? 0)
        after ??= this.at
        if (place >= earliest || ++pointers > maxPointers) throw new RangeError("a pointer that doesn't lead back")
        earliest = this.at = place
        continue
      }
      length += first + 1
      if (first > 63 || length > 255) throw new RangeError("a name that is too long")
      labels.push(text.decode(this.take(first)))
    }
    this.at = after ?? this.at
    return nameOf(labels)
  }

  private uint16(): number {
    const value = this.bytes.readUInt16BE(this.at)
    this.at += 2
    return value
  }

  private take(count: number): Buffer {
    if (this.at + count > this.bytes.length) throw new RangeError("cut off")
    this.at += count
    return this.bytes.subarray(this.at - count, this.at)
  }
}
