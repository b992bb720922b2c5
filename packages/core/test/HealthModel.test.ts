/** Whatever happens to instances in whatever order: the counts are right, and who is well again is back in traffic. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type * as Health from "../src/Health.ts"
import { HealthTable } from "../src/internal/health/healthTable.ts"
import type { Settings, Tracked } from "../src/internal/health/tracked.ts"
import { xorshift } from "../src/internal/xorshift.ts"
import { instance, key } from "./fixtures/Fleet.ts"
import { settings } from "./fixtures/healthTable.ts"

const names = ["a", "b", "c", "d"]

const results: Readonly<Record<"pass" | "degraded" | "fail" | "fatal" | "skip", Health.CheckResult>> = {
  pass: { _tag: "Pass" },
  degraded: { _tag: "Degraded", reason: "slow" },
  fail: { _tag: "Fail", reason: "refused", fatal: false },
  fatal: { _tag: "Fail", reason: "another server", fatal: true },
  skip: { _tag: "Skip" }
}

type Step =
  | { readonly do: "wait"; readonly millis: number; readonly stalled: boolean }
  | { readonly do: "begin"; readonly id: string }
  | {
    readonly do: "end"
    readonly which: number
    readonly outcome: Health.Outcome["_tag"]
    readonly retryAfter: number | undefined
  }
  | { readonly do: "check"; readonly id: string }
  | { readonly do: "checked"; readonly which: number; readonly result: keyof typeof results }
  | { readonly do: "mark"; readonly id: string; readonly as: "up" | "draining" | "down" | undefined }
  | {
    readonly do: "put"
    readonly id: string
    readonly service: string
    readonly port: number
    readonly status: "up" | "draining" | "down"
    readonly interval: "100ms" | "1h" | undefined
  }
  | { readonly do: "remove"; readonly id: string }
  | { readonly do: "sweep" }
  | { readonly do: "reconfigure"; readonly to: Partial<Settings["ejection"]>; readonly rise: number }

const id = fc.constantFrom(...names)
const constant = <const A>(value: A) => fc.constant(value)

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: constant("wait"),
      millis: fc.oneof(fc.nat(300), fc.nat(20_000)),
      stalled: fc.boolean()
    })
  },
  { weight: 8, arbitrary: fc.record({ do: constant("begin"), id }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: constant("end"),
      which: fc.nat(),
      outcome: fc.constantFrom("success", "failure", "failure", "ignored"),
      retryAfter: fc.option(fc.nat(100_000), { nil: undefined, freq: 4 })
    })
  },
  { weight: 3, arbitrary: fc.record({ do: constant("check"), id }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: constant("checked"),
      which: fc.nat(),
      result: fc.constantFrom("pass", "degraded", "fail", "fatal", "skip")
    })
  },
  {
    arbitrary: fc.record({ do: constant("mark"), id, as: fc.constantFrom("up", "draining", "down", undefined) }),
    weight: 1
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: constant("put"),
      id,
      service: fc.constantFrom("weather", "weather", "stock"),
      port: fc.integer({ min: 1, max: 2 }),
      status: fc.constantFrom("up", "up", "draining", "down"),
      interval: fc.constantFrom("100ms", "1h", undefined)
    })
  },
  { arbitrary: fc.record({ do: constant("remove"), id }), weight: 1 },
  { arbitrary: fc.record({ do: constant("sweep") }), weight: 1 },
  {
    weight: 1,
    arbitrary: fc.record({
      do: constant("reconfigure"),
      to: fc.record({
        consecutiveFailures: fc.integer({ min: 1, max: 4 }),
        trials: fc.integer({ min: 1, max: 4 }),
        maxShare: fc.constantFrom(0, 0.5, 1),
        maxTime: fc.constantFrom(1_000, 300_000),
        minRequests: fc.constantFrom(1, 100),
        minInstances: fc.constantFrom(1, 5),
        readmitOnCheck: fc.boolean()
      }),
      rise: fc.integer({ min: 1, max: 3 })
    })
  }
)

const record = ({ id, interval, port, service, status }: Extract<Step, { readonly do: "put" }>) =>
  instance(id, {
    service,
    status,
    endpoint: { transport: "streamable-http", url: `http://${id}.test:${port}/mcp` },
    ...(interval === undefined ? {} : { health: { interval } })
  })

/** A table with calls and checks under way. */
const model = (first: Partial<Settings["ejection"]>) => {
  const time = { now: 0, stalled: false }
  let current: Settings = { ...settings, jitter: 0.2, ejection: { ...settings.ejection, ...first } }
  const table = new HealthTable({
    settings: current,
    now: () => time.now,
    wall: () => time.now,
    random: xorshift(1),
    stalled: () => time.stalled,
    publish: () => {},
    wake: () => {}
  })
  const calls: Array<{ readonly id: string; readonly began: number; readonly trial: boolean; readonly of: Tracked }> =
    []
  const checks: Array<{ readonly of: Tracked; readonly began: number }> = []

  const begin = (id: string) => {
    const of = table.find(key(id))
    if (of === undefined) return
    // One that is unhealthy without a place for a trial call still gets calls in panic.
    calls.push({ id, began: time.now, trial: table.admit(key(id), time.now), of })
  }
  const end = (which: number, outcome: Health.Outcome["_tag"], retryAfter: number | undefined) => {
    const [call] = calls.splice(which, 1)
    table.record(key(call!.id), {
      _tag: outcome,
      latency: time.now - call!.began,
      reason: "500",
      retryAfter,
      trial: call!.trial
    })
  }
  const check = (of: Tracked) => {
    table.schedule.queue.remove(of)
    of.checking = true
    checks.push({ of, began: time.now })
  }
  const checked = (which: number, result: Health.CheckResult) => {
    const [{ began, of }] = checks.splice(which, 1) as [(typeof checks)[number]]
    if (!of.gone) table.checked(of, result, time.now - began)
    of.checking = false
    table.schedule.set(of)
  }
  const apply = (step: Step): void => {
    switch (step.do) {
      case "wait":
        // Clocks have fractions.
        time.now += step.millis + step.millis % 7 / 10
        time.stalled = step.stalled
        return
      case "begin":
        return begin(step.id)
      case "end":
        if (calls.length > 0) end(step.which % calls.length, step.outcome, step.retryAfter)
        return
      case "check": {
        const of = table.find(key(step.id))
        if (of !== undefined && !of.checking) check(of)
        return
      }
      case "checked":
        if (checks.length > 0) checked(step.which % checks.length, results[step.result])
        return
      case "mark":
        return table.override(key(step.id), step.as, "by hand")
      case "put":
        return table.put(key(step.id), record(step))
      case "remove":
        return table.remove(key(step.id))
      case "sweep":
        return table.sweep()
      case "reconfigure":
        current = { ...current, rise: step.rise, ejection: { ...current.ejection, ...step.to } }
        return table.reconfigure(current)
    }
  }
  return { table, time, calls, checks, begin, end, check, checked, apply, settings: () => current }
}

const counts = ({ calls, table }: ReturnType<typeof model>) => {
  for (const tracked of table.all()) {
    const { members } = tracked.service
    assert.isTrue(members.has(tracked))
    const ejected = Array.from(members).filter(({ circuit }) => circuit?.ejected === true)
    assert.strictEqual(tracked.service.ejected, ejected.length, "as many are ejected as are counted")
    const { circuit } = tracked
    if (circuit === undefined) continue
    const trials = calls.filter(({ began, of, trial }) => trial && of === tracked && began >= circuit.since)
    assert.strictEqual(
      circuit.running,
      circuit.state === "half-open" ? trials.length : 0,
      "places are neither lost nor doubled"
    )
    if (tracked.status === "unhealthy" || circuit.state === "closed") continue
    assert.notInclude(["degraded", "unknown"], tracked.status)
  }
}

describe("whatever happened before", () => {
  const steps = fc.array(step, { minLength: 20, maxLength: 120 })

  it("as many are counted as are out, and no place for a trial call is lost", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), steps, (consecutiveFailures, steps) => {
        const of = model({ consecutiveFailures })
        for (const name of names) of.table.put(key(name), instance(name))
        for (const step of steps) {
          of.apply(step)
          counts(of)
        }
      }),
      { numRuns: 300 }
    )
  })

  for (const back of ["checks that pass", "calls", "calls, as checks have nothing to say"] as const) {
    it(`who is well again is back in traffic, by nothing but ${back}`, () => {
      fc.assert(
        fc.property(steps, (steps) => {
          const of = model({ consecutiveFailures: 2 })
          const { calls, checked, checks, table, time } = of
          for (const name of names) table.put(key(name), instance(name))
          for (const step of steps) of.apply(step)
          // From here on all is well.
          time.stalled = false
          if (back === "checks that pass") {
            const { ejection } = of.settings()
            table.reconfigure({ ...of.settings(), ejection: { ...ejection, readmitOnCheck: true } })
          }
          const result = results[back === "calls, as checks have nothing to say" ? "skip" : "pass"]
          for (const name of names) {
            table.override(key(name), undefined, "")
            const known = table.find(key(name))
            if (known?.instance.status === "up") continue
            const service = known?.instance.service ?? "weather"
            of.apply({ do: "put", id: name, service, port: 1, status: "up", interval: undefined })
          }
          while (calls.length > 0) of.end(0, "success", undefined)
          const routable = () => names.every((name) => ["healthy", "unknown"].includes(table.status(key(name))))
          // Five minutes are the longest time that any is out.
          const until = time.now + 400_000
          while (time.now < until && !routable()) {
            while (checks.length > 0) checked(0, result)
            for (let due = table.schedule.queue.first(); due !== undefined && due.due <= time.now;) {
              of.check(due)
              checked(0, result)
              due = table.schedule.queue.first()
            }
            if (back !== "checks that pass") {
              for (const name of names) {
                const before = calls.length
                if (table.admits(key(name), time.now)) of.begin(name)
                while (calls.length > before) of.end(before, "success", undefined)
              }
            }
            table.sweep()
            time.now += 250
          }
          for (const name of names) {
            const tracked = table.find(key(name))!
            assert.include(["healthy", "unknown"], tracked.status, tracked.reason)
            assert.strictEqual(tracked.service.ejected, 0)
            assert.isFalse(table.admits(key(name), time.now))
          }
        }),
        { numRuns: 150 }
      )
    })
  }
})
