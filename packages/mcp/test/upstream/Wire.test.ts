import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as HeaderValue from "../../src/HeaderValue.ts"
import * as Lines from "../../src/upstream/transports/Lines.ts"
import * as ServerSentEvents from "../../src/upstream/transports/ServerSentEvents.ts"

/** The bytes cut at the given places. */
const cut = (bytes: Buffer, places: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

const text = fc.string({ unit: "grapheme", maxLength: 20 }).map((text) => text.replace(/[\r\n]/g, " "))
const places = fc.array(fc.nat(), { maxLength: 12 })

describe("ServerSentEvents", () => {
  const events = (chunks: ReadonlyArray<Buffer>, limit = 1_000_000) => {
    const seen: Array<string> = []
    const ids: Array<string> = []
    const retries: Array<number> = []
    const feed = ServerSentEvents.make({
      limit,
      onData: (data) => seen.push(data),
      onId: (id) => ids.push(id),
      onRetry: (ms) => retries.push(ms)
    })
    const fits = chunks.map(feed)
    return { seen, ids, retries, fits }
  }

  it("gives the same events however the bytes are cut and whatever ends a line", () => {
    fc.assert(fc.property(
      fc.array(fc.array(text, { minLength: 1, maxLength: 3 }), { maxLength: 5 }),
      fc.constantFrom("\n", "\r", "\r\n"),
      places,
      (all, end, places) => {
        const wire = all.map((lines) => [...lines.map((line) => `data: ${line}`), ": comment", "", ""].join(end)).join(
          ""
        )
        const expected = all.map((lines) => lines.join("\n")).filter((data) => data !== "")
        assert.deepStrictEqual(events(cut(Buffer.from(wire), places)).seen, expected)
      }
    ))
  })

  it("reads ids, retry times and a byte order mark; a last event that isn't ended doesn't count", () => {
    const { ids, retries, seen } = events([
      Buffer.from("\ufeffid: 7\nretry: 250\nretry: x\nevent: message\ndata:a\n\ndata: b\n")
    ])
    assert.deepStrictEqual([ids, retries, seen], [["7"], [250], ["a"]])
  })

  it("tells the type of an event, and forgets it with the event", () => {
    const seen: Array<readonly [string, string]> = []
    const feed = ServerSentEvents.make({ limit: 1_000, onData: (data, type) => seen.push([data, type]) })
    feed(Buffer.from("event: endpoint\ndata: /m\n\ndata: 1\n\nevent: gone\n\ndata: 2\n\n"))
    assert.deepStrictEqual(seen, [["/m", "endpoint"], ["1", ""], ["2", ""]])
  })

  it("throws away an event that is too long and goes on, however the bytes are cut", () => {
    const long = `{"id":7,"text":"${"x".repeat(5_000)}"}`
    fc.assert(fc.property(
      fc.constantFrom(long, `${long}\n${long}`),
      fc.constantFrom("\n", "\r", "\r\n"),
      fc.array(fc.nat({ max: 4_000 }), { minLength: 1, maxLength: 8 }),
      (event, end, places) => {
        const wire = ["a", event, "b"].map((data) =>
          [...data.split("\n").map((line) => `data: ${line}`), "", ""].join(end)
        ).join("")
        const seen: Array<string> = []
        const thrown: Array<readonly [string, string]> = []
        const feed = ServerSentEvents.make({
          limit: 500,
          onData: (data) => seen.push(data),
          onTooLong: (head, tail) => thrown.push([head, tail])
        })
        // Chunks of a socket are shorter than the limit here, so that a whole long event never comes in one.
        for (const part of cut(Buffer.from(wire), places)) {
          for (let at = 0; at < part.length; at += 300) assert.isTrue(feed(part.subarray(at, at + 300)))
        }
        assert.deepStrictEqual(seen, ["a", "b"])
        assert.strictEqual(thrown.length, 1)
        assert.isTrue(thrown[0]?.[0].startsWith("{\"id\":7,\"text\":\"xx"), thrown[0]?.[0])
        assert.isTrue(thrown[0]?.[1].endsWith("x\"}"), thrown[0]?.[1])
        assert.isAtMost((thrown[0]?.[0].length ?? 0) + (thrown[0]?.[1].length ?? 0), 256)
      }
    ))
  })

  it("says when an event is too long, in one line or in many", () => {
    assert.deepStrictEqual(events([Buffer.from("data: 0123456789")], 10).fits, [false])
    assert.deepStrictEqual(events([Buffer.from("data: 01234\n"), Buffer.from("data: 56789\n")], 10).fits, [true, false])
    assert.deepStrictEqual(events([Buffer.from("data: 01234\n\n"), Buffer.from("data: 56789\n\n")], 10).fits, [
      true,
      true
    ])
  })
})

describe("Lines", () => {
  const split = (chunks: ReadonlyArray<Buffer>, limit: number) => {
    const seen: Array<string> = []
    const long: Array<readonly [string, string]> = []
    const feed = Lines.make({
      limit,
      onLine: (line) => seen.push(line.toString()),
      onTooLong: (head, tail) => long.push([head, tail])
    })
    for (const chunk of chunks) feed(chunk)
    return { seen, long }
  }

  it("gives the same lines however the bytes are cut", () => {
    fc.assert(fc.property(fc.array(text, { maxLength: 8 }), places, (lines, places) => {
      const wire = Buffer.from(lines.map((line) => `${line}\n`).join(""))
      assert.deepStrictEqual(split(cut(wire, places), 1_000).seen, lines.filter((line) => line !== ""))
    }))
  })

  it("throws away a line that is too long, keeps its ends, and goes on", () => {
    const wire = Buffer.from(`ok\n<${"x".repeat(5_000)}>\nstill\n`)
    for (const size of [1, 7, 128, 10_000]) {
      const chunks = Array.from(
        { length: Math.ceil(wire.length / size) },
        (_, n) => wire.subarray(n * size, n * size + size)
      )
      const { long, seen } = split(chunks, 1_000)
      assert.deepStrictEqual(seen, ["ok", "still"])
      assert.strictEqual(long.length, 1)
      assert.match(long[0]?.[0] ?? "", /^<x{127}$/)
      assert.match(long[0]?.[1] ?? "", /^x{127}>$/)
    }
  })
})

describe("HeaderValue", () => {
  it("encodes as the specification's examples", () => {
    assert.deepStrictEqual(
      ["us-west1", "Hello, 世界", " padded ", "line1\nline2", "=?base64?literal?=", ""].map(HeaderValue.encode),
      [
        "us-west1",
        "=?base64?SGVsbG8sIOS4lueVjA==?=",
        "=?base64?IHBhZGRlZCA=?=",
        "=?base64?bGluZTEKbGluZTI=?=",
        "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
        "=?base64??="
      ]
    )
  })

  it("is always a value that HTTP can hold, and holds the text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }).filter((text) => text.isWellFormed()), (text) => {
      const value = HeaderValue.encode(text)
      assert.match(value, /^[\x20-\x7e\t]*$/)
      const [, inner] = /^=\?base64\?(.*)\?=$/.exec(value) ?? []
      assert.strictEqual(inner === undefined ? value : Buffer.from(inner, "base64").toString(), text)
    }))
  })

  it("names what the methods name", () => {
    assert.strictEqual(HeaderValue.nameOf("tools/call", { name: "t" }), "t")
    assert.strictEqual(HeaderValue.nameOf("prompts/get", { name: "p" }), "p")
    assert.strictEqual(HeaderValue.nameOf("resources/read", { uri: "file:///ä" }), "file:///ä")
    assert.isUndefined(HeaderValue.nameOf("tools/list", { name: "t" }))
  })
})
