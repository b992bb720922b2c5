/** Rule 2: what clients carry between two rounds of a call. */
import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import * as fc from "fast-check"
import * as RequestState from "../../src/relay/calls/RequestState.ts"
import * as Seal from "../../src/relay/Seal.ts"

const subject = fc.record({
  principal: fc.option(fc.string(), { nil: undefined }),
  method: fc.constantFrom("tools/call", "prompts/get", "resources/read"),
  name: fc.string(),
  service: fc.string(),
  arguments: fc.option(fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 }), { nil: undefined })
})
const state: fc.Arbitrary<RequestState.State> = fc.oneof(
  fc.record({
    _tag: fc.constant("Server" as const),
    source: fc.string(),
    instance: fc.string(),
    own: fc.option(fc.oneof(fc.string(), fc.string({ unit: "binary", maxLength: 2_000 })), { nil: undefined })
  }),
  fc.record({ _tag: fc.constant("Again" as const), source: fc.string(), instance: fc.string() }),
  fc.record({
    _tag: fc.constant("Parked" as const),
    gateway: fc.uuid(),
    call: fc.nat(),
    round: fc.nat()
  })
)
const again: RequestState.State = { _tag: "Again", source: "memory", instance: "a" }
const key = Redacted.make("a key that replicas share")
const at = (now: () => number, seals = Seal.make(key)) => RequestState.make(seals, () => 1_000, now)

describe("the state of a request", () => {
  it("is opened by every replica with the key, as it was sealed", () => {
    fc.assert(fc.property(subject, state, (subject, state) => {
      const text = at(() => 0).seal(subject, state)
      assert.match(text, /^[A-Za-z0-9_-]+$/)
      assert.deepStrictEqual(at(() => 999).open(text, subject), state)
    }))
  })

  it("says nothing to who carries it, and is another one each time", () => {
    const states = at(() => 0)
    const from = { principal: "ann", method: "tools/call", name: "t", service: "svc", arguments: undefined }
    const given: RequestState.State = { _tag: "Server", source: "memory", instance: "secret", own: "secret".repeat(50) }
    const [one, other] = [states.seal(from, given), states.seal(from, given)]
    assert.notStrictEqual(one, other)
    for (const text of [one, other]) assert.notInclude(Buffer.from(text, "base64url").toString("latin1"), "secret")
  })

  it("is refused where anything of it was altered", () => {
    fc.assert(fc.property(
      subject,
      state,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.constantFrom("flip", "cut", "grow"),
      (subject, state, where, change, how) => {
        const states = at(() => 0)
        const bytes = Buffer.from(states.seal(subject, state), "base64url")
        const place = where % bytes.length
        if (how === "flip") bytes[place] = bytes[place]! ^ change
        const altered = how === "cut"
          ? bytes.subarray(0, place)
          : how === "grow"
          ? Buffer.concat([bytes, Buffer.from([change])])
          : bytes
        assert.isString(states.open(altered.toString("base64url"), subject))
      }
    ))
  })

  it("is refused from another principal, for another method, name or service", () => {
    fc.assert(fc.property(subject, subject, state, (mine, other, state) => {
      const states = at(() => 0)
      const text = states.seal(mine, state)
      for (const field of ["principal", "method", "name", "service"] as const) {
        if (mine[field] !== other[field]) assert.isString(states.open(text, { ...mine, [field]: other[field] }))
      }
    }))
  })

  it("is refused with other arguments, and not for their order or where there are none", () => {
    const states = at(() => 0)
    const from = { principal: "ann", method: "tools/call", name: "t", service: "svc" }
    const args = { a: 1, b: [{ c: "x", d: null }, 2] }
    const open = (sealed: unknown, opened: unknown) =>
      states.open(states.seal({ ...from, arguments: sealed }, again), { ...from, arguments: opened })
    assert.deepStrictEqual(open(args, { b: [{ d: null, c: "x" }, 2], a: 1 }), again)
    assert.deepStrictEqual(open(undefined, {}), again)
    for (const other of [{}, undefined, { ...args, a: 2 }, { ...args, a: "1" }, { a: 1 }, { ...args, b: [2] }]) {
      assert.include(open(args, other), "other arguments")
    }
  })

  it("nobody's is not that of somebody without a name", () => {
    const states = at(() => 0)
    const from = { principal: undefined, method: "tools/call", name: "t", service: "svc", arguments: {} }
    for (const principal of ["", "undefined"]) {
      assert.isString(states.open(states.seal(from, again), { ...from, principal }))
      assert.isString(states.open(states.seal({ ...from, principal }, again), from))
    }
  })

  it("is refused once its time is over", () => {
    fc.assert(fc.property(subject, state, fc.nat(2_000), (subject, state, later) => {
      let now = 5
      const states = at(() => now)
      const text = states.seal(subject, state)
      now += later
      const opened = states.open(text, subject)
      if (later < 1_000) assert.deepStrictEqual(opened, state)
      else assert.include(opened, "expired")
    }))
  })

  it("outlives a new key, and is refused with one that nobody had", () => {
    fc.assert(fc.property(subject, state, fc.integer({ min: 0, max: 7 }), (subject, state, rotations) => {
      const seals = Seal.make(key)
      const states = at(() => 0, seals)
      const text = states.seal(subject, state)
      for (let time = 0; time < rotations; time++) seals.rotate(Redacted.make(`key ${time}`))
      assert.deepStrictEqual(states.open(text, subject), state)
      assert.isString(at(() => 0, Seal.make(Redacted.make("another"))).open(text, subject))
      assert.isString(at(() => 0, Seal.make(undefined)).open(text, subject))
    }))
  })

  it("is no session id and no id of a task, and none of them is one", () => {
    const seals = Seal.make(key)
    const from = { principal: undefined, method: "tools/call", name: "t", service: "svc", arguments: {} }
    const text = at(() => 0, seals).seal(from, again)
    for (const purpose of ["portolan session id", "portolan task id"] as const) {
      assert.isUndefined(seals.of(purpose, 10_000).open(text))
      assert.isString(
        at(() => 0, seals).open(seals.of(purpose, 10_000).seal([1, "tools/call", "t", "svc", 9, "a"]), from)
      )
    }
  })

  it("anything else is refused, and nothing throws", () => {
    fc.assert(fc.property(fc.anything(), subject, (given, subject) => {
      assert.isString(at(() => 0).open(given, subject))
    }))
  })
})
