import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { monotonic } from "../src/internal/monotonic.ts"
import { Admission, type LimitSettings } from "../src/internal/routing/admission.ts"

interface Asked {
  readonly name: string
  readonly caller: string
  /** Instances it may go to, as `service/instance`. */
  readonly instances: ReadonlyArray<string>
  readonly kind?: string | undefined
}

interface Call extends Asked {
  state: "waiting" | "running" | "shed" | "left" | "refused"
  reason: string
  retryAfter: number
  since: number
  until: number
  at: string | undefined
  leave: () => void
}

const serviceOf = (instance: string) => instance.slice(0, instance.indexOf("/"))

/** Instances with places, and calls that take them as a router would. */
class House {
  readonly places = new Map<string, number>()
  readonly busy = new Map<string, number>()
  readonly calls: Array<Call> = []
  readonly granted: Array<string> = []
  tries = 0
  readonly now: () => number
  readonly admission: Admission

  constructor(
    clock: Clock.Clock,
    settings: Partial<LimitSettings>,
    fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  ) {
    this.now = monotonic(clock)
    this.admission = new Admission({ perService: Infinity, queue: 1_000, wait: 5_000, ...settings }, {
      now: this.now,
      inFlight: (service) => this.inFlight(service),
      fork
    })
  }

  inFlight(service: string): number {
    let sum = 0
    for (const [instance, busy] of this.busy) if (serviceOf(instance) === service) sum += busy
    return sum
  }

  // As a router picks: it is for the queues to say when a service is at its limit.
  private pick(instances: ReadonlyArray<string>): string | undefined {
    const full = this.admission.full(Array.from(new Set(instances.map(serviceOf))))
    return instances.find((instance) =>
      (this.busy.get(instance) ?? 0) < (this.places.get(instance) ?? 0) && !full.includes(serviceOf(instance))
    )
  }

  free(instances: ReadonlyArray<string>): string | undefined {
    return this.pick(instances.filter((instance) => !this.admission.isFull(serviceOf(instance))))
  }

  ask(asked: Asked): Call {
    const call: Call = {
      ...asked,
      state: "waiting",
      reason: "",
      retryAfter: 0,
      since: this.now(),
      until: Infinity,
      at: undefined,
      leave: () => {}
    }
    this.calls.push(call)
    const services = Array.from(new Set(asked.instances.map(serviceOf)))
    const go = () => {
      this.tries++
      const instance = this.pick(asked.instances)
      if (instance === undefined) return false
      this.busy.set(instance, (this.busy.get(instance) ?? 0) + 1)
      call.at = instance
      call.state = "running"
      call.until = this.now()
      this.granted.push(call.caller)
      return true
    }
    if (!this.admission.mustWait(services) && go()) return call
    const answer = this.admission.enqueue({
      caller: asked.caller,
      services,
      ...(asked.kind === undefined ? {} : { kind: asked.kind }),
      go,
      shed: (reason, retryAfter) => {
        assert.strictEqual(call.state, "waiting")
        Object.assign(call, { state: "shed", reason, retryAfter, until: this.now() })
      }
    })
    if (typeof answer === "function") {
      call.leave = () => {
        answer()
        if (call.state === "waiting") call.state = "left"
      }
    } else Object.assign(call, { state: "refused", ...answer })
    return call
  }

  end(call: Call): void {
    const instance = call.at
    if (instance === undefined) return
    this.busy.set(instance, this.busy.get(instance)! - 1)
    call.at = undefined
    call.state = "left"
    this.admission.released(serviceOf(instance))
  }

  get waiting(): ReadonlyArray<Call> {
    return this.calls.filter((call) => call.state === "waiting")
  }
}

const house = (settings: Partial<LimitSettings> = {}, places: Readonly<Record<string, number>> = { "a/1": 1 }) =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const fork = Effect.runForkWith(yield* Effect.context<never>())
    const made = new House(yield* Clock.Clock, settings, (effect) => Fiber.runIn(fork(effect), scope))
    for (const [instance, count] of Object.entries(places)) made.places.set(instance, count)
    return made
  })

const names = (calls: ReadonlyArray<Call>) => calls.map(({ name }) => name)

describe("a full service", () => {
  it.effect("lets callers take turns, and within one who came first", () =>
    Effect.gen(function*() {
      const one = yield* house()
      const first = one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      for (const name of ["1", "2", "3"]) one.ask({ name, caller: "x", instances: ["a/1"] })
      for (const name of ["4", "5"]) one.ask({ name, caller: "y", instances: ["a/1"] })
      one.ask({ name: "6", caller: "z", instances: ["a/1"] })
      const order: Array<string> = []
      let running: Call | undefined = first
      while (running !== undefined) {
        one.end(running)
        running = one.calls.find(({ state }) => state === "running")
        if (running !== undefined) order.push(running.name)
      }
      assert.deepStrictEqual(order, ["1", "4", "6", "2", "5", "3"])
    }))

  it.effect("sheds who waited too long, and says when to come again", () =>
    Effect.gen(function*() {
      const one = yield* house({ wait: 500 })
      one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      const second = one.ask({ name: "1", caller: "x", instances: ["a/1"] })
      yield* TestClock.adjust(300)
      const third = one.ask({ name: "2", caller: "x", instances: ["a/1"] })
      yield* TestClock.adjust(199)
      assert.strictEqual(second.state, "waiting")
      yield* TestClock.adjust(1)
      assert.deepStrictEqual([second.state, second.reason, third.state], ["shed", "no room within 500 ms", "waiting"])
      assert.isAtLeast(second.retryAfter, 100)
      yield* TestClock.adjust(300)
      assert.strictEqual(third.state, "shed")
      assert.strictEqual(one.admission.waiting("a"), 0)
      assert.isFalse(one.admission.mustWait(["a"]))
    }))

  it.effect("refuses who finds the queue full, unless another caller has more calls in it", () =>
    Effect.gen(function*() {
      const one = yield* house({ queue: 4 })
      one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      for (const name of ["1", "2", "3", "4"]) one.ask({ name, caller: "x", instances: ["a/1"] })
      const more = one.ask({ name: "5", caller: "x", instances: ["a/1"] })
      assert.deepStrictEqual([more.state, more.reason], ["refused", "4 calls wait already, as many as may"])
      const others = ["6", "7"].map((name) => one.ask({ name, caller: "y", instances: ["a/1"] }))
      assert.deepStrictEqual(names(one.waiting), ["1", "2", "6", "7"])
      assert.deepStrictEqual(others.map(({ state }) => state), ["waiting", "waiting"])
      assert.strictEqual(one.calls.find(({ name }) => name === "4")!.reason.startsWith("gave its place"), true)
      assert.strictEqual(one.ask({ name: "8", caller: "y", instances: ["a/1"] }).state, "refused")
      one.admission.reconfigure({ perService: Infinity, queue: 3, wait: 5_000 })
      assert.deepStrictEqual(names(one.waiting), ["1", "6", "7"])
      // To take from one caller what makes another one just as poor helps nobody.
      assert.strictEqual(one.ask({ name: "-", caller: "x", instances: ["a/1"] }).state, "refused")
      assert.strictEqual(
        one.ask({ name: "9", caller: "z", instances: ["a/1"] }).state,
        "waiting"
      )
    }))

  it.effect("of no queue refuses at once", () =>
    Effect.gen(function*() {
      const one = yield* house({ queue: 0 })
      one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      const second = one.ask({ name: "1", caller: "x", instances: ["a/1"] })
      assert.deepStrictEqual([second.state, second.reason], ["refused", "no call may wait"])
      assert.isAtLeast(second.retryAfter, 100)
    }))

  it.effect("measures when it is worth coming again", () =>
    Effect.gen(function*() {
      const one = yield* house({ queue: 20, wait: 60_000 })
      let running = one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      for (let call = 0; call < 60; call++) {
        while (one.waiting.length < 20) one.ask({ name: "n", caller: "x", instances: ["a/1"] })
        yield* TestClock.adjust(100)
        one.end(running)
        running = one.calls.find(({ state }) => state === "running")!
      }
      one.ask({ name: "n", caller: "x", instances: ["a/1"] })
      const refused = one.ask({ name: "n", caller: "x", instances: ["a/1"] })
      assert.strictEqual(refused.state, "refused")
      // 21 calls at 10 a second.
      assert.closeTo(refused.retryAfter, 2_100, 300)
    }))

  it.effect("says no more than half a minute, and no less than a tenth of a second", () =>
    Effect.gen(function*() {
      const one = yield* house({ queue: 1_000, wait: 600_000 })
      const running = one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      for (let call = 0; call < 1_000; call++) one.ask({ name: "n", caller: "x", instances: ["a/1"] })
      yield* TestClock.adjust("10 seconds")
      one.end(running)
      one.ask({ name: "n", caller: "x", instances: ["a/1"] })
      assert.strictEqual(one.ask({ name: "n", caller: "x", instances: ["a/1"] }).retryAfter, 30_000)
      const fast = yield* house({ queue: 1 }, { "b/1": 1 })
      let next = fast.ask({ name: "0", caller: "x", instances: ["b/1"] })
      for (let call = 0; call < 1_000; call++) {
        fast.ask({ name: "n", caller: "x", instances: ["b/1"] })
        const before = fast.admission.waiting("b")
        assert.strictEqual(before, 1)
        fast.ask({ name: "m", caller: "y", instances: ["b/1"] })
        yield* TestClock.adjust(1)
        fast.end(next)
        next = fast.calls.find(({ state }) => state === "running")!
      }
      fast.ask({ name: "n", caller: "x", instances: ["b/1"] })
      assert.isAtLeast(fast.ask({ name: "n", caller: "x", instances: ["b/1"] }).retryAfter, 100)
    }))

  it.effect("keeps nothing of who left", () =>
    Effect.gen(function*() {
      const one = yield* house()
      const running = one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      const left = one.ask({ name: "1", caller: "x", instances: ["a/1"] })
      const stays = one.ask({ name: "2", caller: "x", instances: ["a/1"] })
      left.leave()
      left.leave()
      assert.strictEqual(one.admission.waiting("a"), 1)
      one.end(running)
      assert.deepStrictEqual([left.state, stays.state], ["left", "running"])
      assert.strictEqual(one.admission.waiting("a"), 0)
    }))

  it.effect("finds room that nobody announced", () =>
    Effect.gen(function*() {
      const one = yield* house()
      one.ask({ name: "0", caller: "x", instances: ["a/1", "a/2"] })
      const calls = ["1", "2", "3"].map((name) => one.ask({ name, caller: "x", instances: ["a/1", "a/2"] }))
      one.places.set("a/2", 2)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(calls.map(({ state }) => state), ["running", "running", "waiting"])
    }))
})

describe("a loop that stood still", () => {
  it.effect("sheds nobody before what came in meanwhile has been heard", () =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const base = monotonic(yield* Clock.Clock)
      const runFork = Effect.runForkWith(yield* Effect.context<never>())
      let lag = 0
      let places = 0
      let freed = false
      const ends: Array<string> = []
      const admission: Admission = new Admission({ perService: Infinity, queue: 10, wait: 500 }, {
        now: () => base() + lag,
        inFlight: () => 1,
        fork: (effect) => {
          // It will look again: by then the answer that makes room has been read.
          if (lag > 0 && !freed) {
            freed = true
            places = 1
            admission.released("a")
          }
          return Fiber.runIn(runFork(effect), scope)
        }
      })
      const wait = (name: string) =>
        admission.enqueue({
          caller: "x",
          services: ["a"],
          kind: "same",
          go: () => {
            if (places === 0) return false
            places--
            ends.push(`${name} goes`)
            return true
          },
          shed: (reason) => void ends.push(`${name}: ${reason}`)
        })
      wait("first")
      wait("second")
      yield* TestClock.adjust(50)
      lag = 5_000
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(ends, ["first goes", "second: no room within 500 ms"])
    }))
})

describe("who waits for what is full", () => {
  it.effect("holds up nobody who can go elsewhere", () =>
    Effect.gen(function*() {
      const one = yield* house({}, { "a/1": 1, "a/2": 1 })
      one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      const bound = one.ask({ name: "1", caller: "x", instances: ["a/1"], kind: "1" })
      const other = one.ask({ name: "2", caller: "x", instances: ["a/2"], kind: "2" })
      assert.deepStrictEqual([bound.state, other.state], ["waiting", "running"])
      const third = one.ask({ name: "3", caller: "x", instances: ["a/2"], kind: "2" })
      one.end(other)
      assert.deepStrictEqual([bound.state, third.state], ["waiting", "running"])
      const fourth = one.ask({ name: "4", caller: "x", instances: ["a/2"], kind: "2" })
      one.end(third)
      one.end(fourth)
      assert.strictEqual(one.ask({ name: "5", caller: "x", instances: ["a/2"], kind: "2" }).state, "running")
    }))

  it.effect("is tried once for all that are like it", () =>
    Effect.gen(function*() {
      const one = yield* house({}, { "a/1": 1, "a/2": 1 })
      const other = one.ask({ name: "0", caller: "x", instances: ["a/2"] })
      one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      for (let call = 0; call < 500; call++) {
        one.ask({ name: `${call}`, caller: `${call % 50}`, instances: ["a/1"], kind: "same" })
      }
      // As one comes in without having to wait, and as the first waits.
      assert.strictEqual(one.tries, 4)
      one.end(other)
      assert.strictEqual(one.tries, 5)
    }))

  it.effect("of several services waits where there is room to wait", () =>
    Effect.gen(function*() {
      const one = yield* house({ queue: 1 }, { "a/1": 1, "b/1": 1 })
      one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      const atB = one.ask({ name: "1", caller: "x", instances: ["b/1"] })
      one.ask({ name: "2", caller: "x", instances: ["a/1"] })
      const any = one.ask({ name: "3", caller: "x", instances: ["a/1", "b/1"] })
      assert.deepStrictEqual([any.state, one.admission.waiting("a"), one.admission.waiting("b")], ["waiting", 1, 1])
      assert.strictEqual(one.ask({ name: "4", caller: "x", instances: ["b/1", "a/1"] }).state, "refused")
      one.end(atB)
      assert.strictEqual(any.state, "running")
    }))

  it.effect("of several services goes to the first that has room, and stands in no queue then", () =>
    Effect.gen(function*() {
      const one = yield* house({}, { "a/1": 1, "b/1": 1 })
      const atA = one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      const atB = one.ask({ name: "1", caller: "x", instances: ["b/1"] })
      const any = one.ask({ name: "2", caller: "y", instances: ["a/1", "b/1"] })
      const onlyA = one.ask({ name: "3", caller: "y", instances: ["a/1"] })
      assert.strictEqual(one.admission.waiting("a") + one.admission.waiting("b"), 2)
      one.end(atB)
      assert.deepStrictEqual([any.state, any.at, onlyA.state], ["running", "b/1", "waiting"])
      one.end(atA)
      assert.strictEqual(onlyA.state, "running")
      assert.strictEqual(one.admission.waiting("a") + one.admission.waiting("b"), 0)
    }))
})

describe("a limit of a service", () => {
  it.effect("holds over all of its instances", () =>
    Effect.gen(function*() {
      const one = yield* house({ perService: 3 }, { "a/1": 10, "a/2": 10, "b/1": 10 })
      const calls = Array.from({ length: 5 }, (_, index) =>
        one.ask({ name: `${index}`, caller: "x", instances: ["a/1", "a/2"] }))
      assert.strictEqual(one.inFlight("a"), 3)
      assert.isTrue(one.admission.mustWait(["a"]))
      assert.isFalse(one.admission.mustWait(["a", "b"]))
      one.end(calls[0]!)
      assert.deepStrictEqual([one.inFlight("a"), names(one.waiting)], [3, ["4"]])
    }))

  it.effect("that is raised lets as many go as it says, one that is lowered sends nobody away", () =>
    Effect.gen(function*() {
      const settings = { perService: 2, queue: 10, wait: 5_000 }
      const one = yield* house(settings, { "a/1": 100 })
      for (let call = 0; call < 8; call++) one.ask({ name: `${call}`, caller: "x", instances: ["a/1"] })
      one.admission.reconfigure({ ...settings, perService: 5 })
      assert.deepStrictEqual([one.inFlight("a"), one.waiting.length], [5, 3])
      one.admission.reconfigure({ ...settings, perService: 1 })
      for (let call = 0; call < 4; call++) one.end(one.calls.find(({ state }) => state === "running")!)
      assert.deepStrictEqual([one.inFlight("a"), one.waiting.length], [1, 3])
      one.admission.reconfigure({ ...settings, perService: Infinity })
      assert.deepStrictEqual([one.inFlight("a"), one.waiting.length], [4, 0])
      assert.isFalse(one.admission.mustWait(["a"]))
    }))

  it.effect("of the queue that is lowered sheds the newest; of the wait, who waited that long", () =>
    Effect.gen(function*() {
      const settings = { perService: Infinity, queue: 10, wait: 5_000 }
      const one = yield* house(settings)
      one.ask({ name: "0", caller: "x", instances: ["a/1"] })
      for (const name of ["1", "2", "3", "4"]) one.ask({ name, caller: "x", instances: ["a/1"] })
      one.ask({ name: "5", caller: "y", instances: ["a/1"] })
      one.admission.reconfigure({ ...settings, queue: 3 })
      assert.deepStrictEqual(names(one.waiting), ["1", "2", "5"])
      yield* TestClock.adjust(1_000)
      one.ask({ name: "6", caller: "z", instances: ["a/1"] })
      assert.deepStrictEqual(names(one.waiting), ["1", "5", "6"])
      one.admission.reconfigure({ ...settings, queue: 3, wait: 500 })
      assert.deepStrictEqual(names(one.waiting), ["6"])
    }))
})

describe("laws", () => {
  it.effect("fairness: a caller with a hundred times the load gets about as many calls through as another", () =>
    Effect.gen(function*() {
      const one = yield* house({ queue: 100, wait: 2_000 }, { "a/1": 4 })
      const took = new Map<Call, number>()
      for (let ms = 0; ms < 5_000; ms++) {
        // Capacity 400 a second; the small caller asks for 250, the large one for 25,000.
        for (let call = 0; call < 25; call++) one.ask({ name: "n", caller: "large", instances: ["a/1"], kind: "any" })
        if (ms % 4 === 0) one.ask({ name: "n", caller: "small", instances: ["a/1"], kind: "any" })
        for (const call of one.calls) {
          if (call.state === "running" && !took.has(call)) took.set(call, one.now())
        }
        for (const [call, began] of took) {
          if (call.state === "running" && one.now() - began >= 10) {
            took.delete(call)
            one.end(call)
          }
        }
        one.calls.splice(
          0,
          one.calls.length,
          ...one.calls.filter(({ state }) => state === "waiting" || state === "running")
        )
        yield* TestClock.adjust(1)
      }
      const small = one.granted.filter((caller) => caller === "small").length
      assert.isAbove(one.granted.length, 1_700)
      assert.closeTo(small / one.granted.length, 0.5, 0.03)
    }))

  type Step =
    | {
      readonly _tag: "ask"
      readonly caller: number
      readonly instances: ReadonlyArray<string>
      readonly bound: boolean
    }
    | { readonly _tag: "end" | "leave"; readonly which: number }
    | { readonly _tag: "pass"; readonly ms: number }
    | { readonly _tag: "places"; readonly instance: string; readonly count: number }
    | { readonly _tag: "limits"; readonly settings: LimitSettings }

  const instances = ["a/1", "a/2", "b/1", "c/1"]
  const limits = fc.record({
    perService: fc.constantFrom(1, 2, 5, Infinity),
    queue: fc.constantFrom(0, 1, 3, 10),
    wait: fc.constantFrom(50, 150, 1_000)
  })
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        _tag: fc.constant("ask" as const),
        caller: fc.nat(3),
        instances: fc.subarray(instances, { minLength: 1 }),
        bound: fc.boolean()
      })
    },
    { weight: 4, arbitrary: fc.record({ _tag: fc.constant("end" as const), which: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("leave" as const), which: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("pass" as const), ms: fc.constantFrom(1, 40, 100, 160) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        _tag: fc.constant("places" as const),
        instance: fc.constantFrom(...instances),
        count: fc.nat(3)
      })
    },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("limits" as const), settings: limits }) }
  )

  it("bounds hold, nobody who can go waits, nobody waits too long, and nothing is left over", () =>
    fc.assert(
      fc.asyncProperty(limits, fc.array(step, { maxLength: 80 }), (initial, steps) =>
        Effect.runPromise(
          Effect.gen(function*() {
            let settings: LimitSettings = initial
            const one = yield* house(initial, { "a/1": 1, "a/2": 2, "b/1": 1, "c/1": 0 })
            let silent = false
            for (const [index, step] of steps.entries()) {
              const before = new Map(["a", "b", "c"].map((service) => [service, one.inFlight(service)]))
              const running = one.calls.filter(({ state }) => state === "running")
              const waiting = one.waiting
              switch (step._tag) {
                case "ask":
                  one.ask({
                    name: `${index}`,
                    caller: `${step.caller}`,
                    instances: step.instances,
                    kind: step.bound ? undefined : step.instances.join()
                  })
                  break
                case "end":
                  if (running.length > 0) one.end(running[step.which % running.length]!)
                  break
                case "leave":
                  if (waiting.length > 0) waiting[step.which % waiting.length]!.leave()
                  break
                case "pass":
                  yield* TestClock.adjust(step.ms)
                  if (step.ms >= 100) silent = false
                  break
                case "places":
                  one.places.set(step.instance, step.count)
                  silent = true
                  break
                case "limits":
                  settings = step.settings
                  one.admission.reconfigure(settings)
                  silent = false
                  break
              }
              let counted = 0
              for (const service of ["a", "b", "c"]) {
                assert.isAtMost(one.admission.waiting(service), settings.queue)
                counted += one.admission.waiting(service)
              }
              assert.strictEqual(counted, one.waiting.length)
              for (const service of ["a", "b", "c"]) {
                const awaited = one.waiting.some(({ instances }) =>
                  instances.some((each) => serviceOf(each) === service)
                )
                assert.strictEqual(one.admission.mustWait([service]), awaited || one.admission.isFull(service))
                if (Number.isFinite(settings.perService) && step._tag === "ask") {
                  assert.isAtMost(one.inFlight(service), Math.max(settings.perService, before.get(service)!))
                }
              }
              for (const call of one.waiting) {
                assert.isBelow(one.now() - call.since, settings.wait)
                if (!silent) assert.strictEqual(one.free(call.instances), undefined, `${call.name} could go`)
              }
              for (const { retryAfter, state } of one.calls) {
                if (state === "shed" || state === "refused") {
                  assert.isAtLeast(retryAfter, 100)
                  assert.isAtMost(retryAfter, 30_000)
                }
              }
            }
            yield* TestClock.adjust(1_100)
            assert.deepStrictEqual(one.waiting, [])
            for (const call of one.calls) one.end(call)
            one.admission.reconfigure({ ...settings, perService: Infinity })
            assert.isFalse(
              one.admission.mustWait(["a"]) || one.admission.mustWait(["b"]) || one.admission.mustWait(["c"])
            )
          }).pipe(Effect.scoped, Effect.provide(TestClock.layer()))
        )),
      { numRuns: 300 }
    ))

  it.effect("overload by half: nine tenths of the capacity is used, and nobody waits longer than may be", () =>
    Effect.gen(function*() {
      const one = yield* house({ queue: 1_000, wait: 500 }, { "a/1": 10 })
      const took = new Map<Call, number>()
      const waits: Array<number> = []
      let done = 0
      for (let ms = 0; ms < 10_000; ms++) {
        // Capacity 500 a second: 10 places, 20 ms each. 750 are asked for.
        const due = Math.floor((ms + 1) * 0.75) - Math.floor(ms * 0.75)
        for (let call = 0; call < due; call++) {
          one.ask({ name: "n", caller: `${ms % 5}`, instances: ["a/1"], kind: "any" })
        }
        for (const call of one.calls) {
          if (call.state !== "waiting") waits.push(Math.min(call.until, one.now()) - call.since)
          if (call.state === "running" && !took.has(call)) took.set(call, one.now())
        }
        for (const [call, began] of took) {
          if (one.now() - began < 20) continue
          took.delete(call)
          one.end(call)
          done++
        }
        one.calls.splice(
          0,
          one.calls.length,
          ...one.calls.filter(({ state }) => state === "waiting" || state === "running")
        )
        yield* TestClock.adjust(1)
      }
      assert.isAbove(done, 0.9 * 5_000)
      assert.isAtMost(Math.max(...waits), 500)
    }))
})
