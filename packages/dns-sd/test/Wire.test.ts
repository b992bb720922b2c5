/** Messages as bytes, held against another implementation, and against whoever means harm. */
import { assert, describe, it } from "@effect/vitest"
import * as DnsPacket from "dns-packet"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { Buffer } from "node:buffer"
import {
  fold,
  isName,
  keyOf,
  labelsOf,
  type Message,
  nameOf,
  query,
  type Resource,
  response
} from "../src/internal/message.ts"
import { compare, decode, encode, maxBytes, sizeOf } from "../src/internal/wire.ts"

const label = fc.oneof(
  fc.stringMatching(/^[a-zA-Z\d_-]{1,12}$/),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).filter((text) => text.isWellFormed())
)
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map(nameOf).filter(isName)
const uint16 = fc.integer({ min: 0, max: 0xffff })
const data = fc.oneof(
  fc.record({ type: fc.constant("A" as const), address: fc.ipV4() }),
  fc.record({
    type: fc.constant("AAAA" as const),
    address: fc.ipV6().map((address) => new URL(`http://[${address}]/`).hostname.slice(1, -1))
  }),
  fc.record({ type: fc.constant("PTR" as const), target: name }),
  fc.record({ type: fc.constant("SRV" as const), priority: uint16, weight: uint16, port: uint16, target: name }),
  fc.record({
    type: fc.constant("TXT" as const),
    strings: fc.array(fc.uint8Array({ minLength: 1, maxLength: 255 }).map((bytes) => Buffer.from(bytes)), {
      maxLength: 4
    })
  })
)
const resource: fc.Arbitrary<Resource> = fc.record({
  name,
  ttl: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  isUnique: fc.boolean(),
  data
})
const resources = fc.array(resource, { maxLength: 4 })
const message: fc.Arbitrary<Message> = fc.record({
  id: uint16,
  isResponse: fc.boolean(),
  isTruncated: fc.boolean(),
  questions: fc.array(fc.record({ name, type: fc.constantFrom("A", "AAAA", "PTR", "SRV", "TXT", "ANY") }), {
    maxLength: 3
  }),
  answers: resources,
  authorities: resources,
  additionals: resources
})

const read = (bytes: Uint8Array) => Result.getOrThrowWith(decode(bytes), (reason) => new Error(reason))

describe("a message", () => {
  it("is read as it was written, whatever its names hold", () => {
    fc.assert(fc.property(message, (message) => assert.deepStrictEqual(read(encode(message)), message)))
  })

  it("takes no more bytes than its records were counted with", () => {
    fc.assert(fc.property(fc.array(resource, { minLength: 1, maxLength: 8 }), (resources) => {
      const size = resources.reduce((sum, resource) => sum + sizeOf(resource), 12)
      assert.isAtMost(encode(response(resources)).length, size)
    }))
  })

  it("is read by another implementation, and that one's by us", () => {
    // That one knows no dots inside of labels, which DNS-SD has.
    const plain = fc.array(fc.stringMatching(/^[a-zA-Z\d_-]{1,12}$/), { minLength: 1, maxLength: 4 }).map((labels) =>
      labels.join(".")
    )
    fc.assert(fc.property(plain, plain, uint16, fc.ipV4(), (name, target, port, address) => {
      const ours = encode(response([
        { name, ttl: 120, isUnique: true, data: { type: "SRV", priority: 0, weight: 0, port, target } },
        { name: target, ttl: 120, isUnique: true, data: { type: "A", address } },
        { name, ttl: 4500, isUnique: false, data: { type: "TXT", strings: [Buffer.from("path=/mcp")] } }
      ]))
      const theirs = DnsPacket.decode(Buffer.from(ours))
      assert.deepStrictEqual(theirs.answers?.map((answer) => "data" in answer ? answer.data : undefined), [
        { priority: 0, weight: 0, port, target },
        address,
        [Buffer.from("path=/mcp")]
      ])
      assert.deepStrictEqual(read(DnsPacket.encode(theirs)).answers, read(ours).answers)
    }))
  })

  it("says a name that stands in it already by a pointer", () => {
    const name = "ship._mcp._tcp.local"
    const bytes = encode(
      query([{ name: "_mcp._tcp.local", type: "PTR" }, { name, type: "SRV" }, { name, type: "TXT" }])
    )
    assert.strictEqual(bytes.length, 12 + (17 + 4) + (5 + 2 + 4) + (2 + 4))
  })

  it("keeps what it doesn't know from harming the rest", () => {
    const theirs = DnsPacket.encode({
      type: "response",
      answers: [
        { type: "HINFO", name: "ship.local", data: { cpu: "x", os: "y" } },
        { type: "A", name: "ship.local", ttl: 120, data: "10.0.0.7" },
        { type: "A", class: "CH", name: "ship.local", ttl: 120, data: "10.0.0.8" }
      ],
      additionals: [{
        type: "OPT",
        name: ".",
        udpPayloadSize: 1440,
        flags: 0,
        ednsVersion: 0,
        extendedRcode: 0,
        flag_do: false,
        options: []
      }]
    })
    const { additionals, answers } = read(theirs)
    assert.deepStrictEqual(answers.map(keyOf), ["ship.local A 10.0.0.7"])
    assert.deepStrictEqual(additionals, [])
  })
})

describe("M9 a hostile message", () => {
  const header = (questions: number, answers = 0) => Buffer.from([0, 0, 0x84, 0, 0, questions, 0, answers, 0, 0, 0, 0])
  const refused = (bytes: Uint8Array) =>
    Result.match(decode(bytes), { onFailure: (reason) => reason, onSuccess: () => "read" })
  const a = (...rdata: ReadonlyArray<number>) =>
    Buffer.concat([header(0, 1), Buffer.from([1, 97, 0, 0, 1, 0, 1, 0, 0, 0, 9, ...rdata])])

  it.each<[string, Uint8Array]>([
    ["is empty", Buffer.alloc(0)],
    ["is cut off", header(1)],
    ["is too long", Buffer.alloc(maxBytes + 1)],
    ["has a pointer to itself", Buffer.concat([header(1), Buffer.from([0xc0, 12, 0, 12, 0, 1])])],
    ["has a pointer forwards", Buffer.concat([header(1), Buffer.from([0xc0, 14, 1, 97, 0, 0, 12, 0, 1])])],
    [
      "has two pointers that lead to one another",
      Buffer.concat([header(1), Buffer.from([1, 97, 0xc0, 14, 0xc0, 12, 0, 12, 0, 1])])
    ],
    ["has a name without an end", Buffer.concat([header(1), Buffer.alloc(300, Buffer.from([1, 97]))])],
    [
      "has a name of more than 255 bytes",
      Buffer.concat([header(1), Buffer.alloc(256, Buffer.from([1, 97])), Buffer.from([0, 0, 12, 0, 1])])
    ],
    [
      "has a label of more than 63 bytes",
      Buffer.concat([header(1), Buffer.from([65]), Buffer.alloc(65, 97), Buffer.from([0, 0, 12, 0, 1])])
    ],
    [
      "has a record of an unknown type beyond its end",
      Buffer.concat([header(0, 1), Buffer.from([1, 97, 0, 0, 99, 0, 1, 0, 0, 0, 9, 0, 200])])
    ],
    [
      "has a label of a type that there is none of",
      Buffer.concat([header(1), Buffer.from([0x41, 97, 0, 0, 12, 0, 1])])
    ],
    ["has a name that is no text", Buffer.concat([header(1), Buffer.from([2, 0xc3, 0x28, 0, 0, 12, 0, 1])])],
    ["has a record beyond its end", a(0, 200, 1, 2, 3, 4)],
    ["has a record that is shorter than its content", a(0, 3, 1, 2, 3)],
    ["has a record that is longer than its content", a(0, 5, 1, 2, 3, 4, 5)],
    ["says that it failed", Buffer.from([0, 0, 0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0])]
  ])("that %s is refused as a whole", (_, bytes) => assert.notStrictEqual(refused(bytes), "read"))

  it("never throws, never hangs, and leaves nothing that can't be written again", () => {
    const mutated = fc.tuple(
      message,
      fc.array(fc.tuple(fc.nat(maxBytes), fc.nat(255)), { maxLength: 8 }),
      fc.nat(maxBytes)
    )
      .map(([message, changes, length]) => {
        const bytes = Buffer.from(encode(message)).subarray(0, length)
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value
        return bytes
      })
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        const message = decode(bytes)
        if (Result.isFailure(message)) return
        const again = Result.try(() => encode(message.success))
        if (Result.isSuccess(again)) assert.deepStrictEqual(read(again.success), message.success)
        else assert.match(String(again.failure), /RangeError/)
      }),
      { numRuns: 2000 }
    )
  })

  it("that is all pointers takes no time", () => {
    // Each name of a full message follows as many pointers as it may.
    const chain = Buffer.from(
      Array.from({ length: 2000 }, (_, n) => n === 0 ? [0, 0] : [0xc0 | (12 + 2 * n - 2) >> 8, 12 + 2 * n - 2 & 255])
        .flat()
    )
    const bytes = Buffer.concat([header(255), chain, Buffer.alloc(2000)])
    const from = performance.now()
    for (let times = 0; times < 100; times++) decode(bytes)
    assert.isBelow(performance.now() - from, 1000)
  })
})

describe("a name", () => {
  it("is its labels, whatever they hold", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1 })),
        (labels) => assert.deepStrictEqual(labelsOf(nameOf(labels)), labels)
      )
    )
  })

  it("is the same in capitals, of ASCII alone", () => {
    assert.strictEqual(fold("Wetter.LOCAL"), "wetter.local")
    assert.strictEqual(fold("ÄÖ.local"), "ÄÖ.local")
  })
})

it("of two who probe for a name, exactly one comes later", () => {
  fc.assert(fc.property(resources, resources, (these, those) => {
    assert.strictEqual(Math.sign(compare(these, those)), -Math.sign(compare(those, these)) + 0)
    assert.strictEqual(compare(these, these.toReversed()), 0)
  }))
})
