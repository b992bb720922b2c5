import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { Event } from "../../src/api/types.ts"
import { Model } from "../../src/fleet/model.ts"
import type { Frame } from "../../src/fleet/rows.ts"
import { noStates } from "../../src/fleet/serviceRow.ts"
import { empty, stepsOf, type View, withFrame } from "../../src/fleet/view.ts"
import { begun, Gateway, type Status } from "./gateway.ts"

const ids = ["a", "b", "c", "d"]
const services = ["weather", "search"]
const sources = ["file", "dc1"]
const statuses: ReadonlyArray<Status> = ["healthy", "degraded", "unhealthy", "draining", "down", "unknown"]

/** What happens at a gateway: one of it changes one instance or source. */
const happening = fc.record({
  what: fc.constantFrom("announce", "announce", "remove", "health", "health", "call", "source"),
  id: fc.constantFrom(...ids),
  service: fc.constantFrom(...services),
  source: fc.constantFrom(...sources),
  region: fc.constantFrom("", "eu-west-1", "us-east-1"),
  status: fc.constantFrom(...statuses),
  circuit: fc.constantFrom(undefined, undefined, "open" as const, "half-open" as const),
  state: fc.constantFrom("connected" as const, "stale" as const),
  calls: fc.nat(50),
  pause: fc.nat(3_000)
})
type Happening = typeof happening extends fc.Arbitrary<infer A> ? A : never

const happen = (gateway: Gateway, { pause, what, ...it }: Happening): Event | undefined => {
  gateway.now += pause
  const key = `${it.source} ${it.id}`
  switch (what) {
    case "announce":
      return gateway.announce(it.id, it.service, it.source, it.region === "" ? {} : { region: it.region })
    case "remove":
      return gateway.remove(key)
    case "health":
      return gateway.health(key, it.circuit === undefined ? it.status : "unhealthy", "said so", it.circuit)
    case "call":
      return gateway.call(key, it.calls, it.calls % 3)
    default:
      return gateway.source(it.source, it.state)
  }
}

/** Rates follow from when something was heard, and not from what is. */
const still = <Row extends { readonly rate: number; readonly failed: number | undefined }>(row: Row) => ({
  ...row,
  rate: 0,
  failed: undefined
})

const comparable = ({ instances, services, sources, totals, ...view }: View) => ({
  ...view,
  instances: instances.rows.map(still),
  // Whether calls fail follows from rates, and so does what is said of it.
  services: services.rows.map((row) => ({ ...still(row), state: "", reason: "", consequence: "", since: 0 })),
  sources: sources.rows,
  totals: totals === undefined ? undefined : { ...still(totals), attention: 0 }
})

/** What somebody sees who opens a page now. */
const fresh = (gateway: Gateway): View => {
  const model = new Model()
  model.apply(gateway.snapshot(), gateway.now)
  model.take(gateway.now, 0)
  return withFrame(empty, wholeOf(model, gateway.now))
}

/** Its parts as one. */
const wholeOf = (model: Model, now: number): Frame => {
  const [first, ...parts] = model.whole(now, 0)
  if (first === undefined) throw new Error("there is nothing yet")
  const { more: _, ...frame } = first
  return { ...frame, instances: { rows: parts.flatMap(({ instances }) => instances?.rows ?? []) } }
}

describe("model", () => {
  it("ends where a fresh page begins, however events come: late, twice, out of order or not at all", () => {
    const chaos = fc.record({
      happening,
      what: fc.constantFrom("send", "send", "send", "twice", "late", "lose", "resync")
    })
    fc.assert(
      fc.property(fc.array(chaos, { maxLength: 80 }), (steps) => {
        const gateway = new Gateway()
        const model = new Model()
        let view = empty
        let late: Array<Event> = []
        const take = (frame: Frame) => {
          view = withFrame(view, frame)
        }
        const deliver = (event: Event) => {
          if (!model.apply(event, gateway.now)) model.apply(gateway.snapshot(), gateway.now)
          const frame = model.take(gateway.now, 0)
          take(view.ready ? frame : wholeOf(model, gateway.now))
        }
        deliver(gateway.snapshot())
        for (const { happening, what } of steps) {
          const event = happen(gateway, happening)
          if (event !== undefined && what !== "lose" && what !== "late") deliver(event)
          if (event !== undefined && what === "twice") deliver(event)
          if (event !== undefined && what === "late") late.push(event)
          else late = late.filter((each) => void deliver(each))
          if (what === "resync") deliver(gateway.snapshot())
        }
        // That the last was lost shows with the next.
        const last = happen(gateway, { ...steps[0]?.happening ?? one, what: "source", pause: 1 })
        if (last !== undefined) deliver(last)
        deliver(gateway.beat())
        model.tick(gateway.now)
        take(model.take(gateway.now, 0))
        expect(comparable(view)).toEqual(comparable(fresh(gateway)))
      }),
      { numRuns: 300 }
    )
  })

  it("tells the same however seldom it is asked, and nothing of what came and went meanwhile", () => {
    fc.assert(fc.property(fc.array(fc.record({ happening, seen: fc.boolean() }), { maxLength: 40 }), (steps) => {
      const gateway = new Gateway()
      const model = new Model()
      model.apply(gateway.snapshot(), gateway.now)
      model.take(gateway.now, 0)
      let view = withFrame(empty, wholeOf(model, gateway.now))
      const look = () => {
        model.tick(gateway.now)
        const frame = model.take(gateway.now, 0)
        for (const key of frame.instances?.gone ?? []) expect(view.instances.get(key)).toBeDefined()
        for (const name of frame.services?.gone ?? []) expect(view.services.get(name)).toBeDefined()
        view = withFrame(view, frame)
      }
      for (const { happening, seen } of steps) {
        const event = happen(gateway, happening)
        if (event !== undefined) model.apply(event, gateway.now)
        if (seen) look()
      }
      look()
      expect(comparable(view)).toEqual(comparable(fresh(gateway)))
    }))
    const gateway = new Gateway()
    const model = new Model()
    model.apply(gateway.snapshot(), gateway.now)
    model.take(gateway.now, 0)
    for (let n = 0; n < 100; n++) {
      model.apply(gateway.announce(`pod-${n}`, `job-${n}`, "file"), gateway.now)
      const gone = gateway.remove(`file pod-${n}`)
      if (gone !== undefined) model.apply(gone, gateway.now)
    }
    expect(model.stirred).toBe(false)
  })

  it("counts what there is", () => {
    fc.assert(fc.property(fc.array(happening, { maxLength: 60 }), (steps) => {
      const gateway = new Gateway()
      const model = new Model()
      model.apply(gateway.snapshot(), gateway.now)
      for (const step of steps) {
        const event = happen(gateway, step)
        if (event !== undefined) expect(model.apply(event, gateway.now)).toBe(true)
      }
      model.take(gateway.now, 0)
      const { regions, totals, ...whole } = wholeOf(model, gateway.now)
      const [instances, services] = [whole.instances?.rows ?? [], whole.services?.rows ?? []]
      const announced = Array.from(gateway.instances.values())
      const isRoutable = ({ health: { status } }: (typeof announced)[number]) =>
        status === "healthy" || status === "degraded" || status === "unknown"
      expect(instances.length).toBe(announced.length)
      expect(totals).toMatchObject({
        instances: announced.length,
        routable: announced.filter(isRoutable).length,
        services: new Set(announced.map(({ service }) => service)).size
      })
      const counts = noStates()
      for (const { state } of instances) counts[state]++
      expect(totals?.states).toEqual(counts)
      for (const service of services) {
        const members = announced.filter((instance) => instance.service === service.name)
        expect(service.instances).toBe(members.length)
        expect(service.routable).toBe(members.filter(isRoutable).length)
        expect(service.calls).toBe(gateway.services.get(service.name)?.calls ?? 0)
        expect(service.cells.reduce((sum, { total }) => sum + total, 0)).toBe(members.length)
        for (const { exceptions, healthy, total } of service.cells) expect(healthy + exceptions.length).toBe(total)
        expect(service.cells.map(({ region }) => region)).toEqual(
          regions?.filter((region) => members.some((member) => (member["region"] ?? "") === region))
        )
      }
    }))
  })

  it("begins anew with another run of the gateway", () => {
    const before = new Gateway("before")
    const model = new Model()
    for (const event of [before.snapshot(), before.announce("a", "weather", "file")]) model.apply(event, before.now)
    const call = before.call("file a", 1_000)
    if (call !== undefined) model.apply(call, before.now)
    model.take(before.now, 0)
    const after = new Gateway("after")
    after.now = before.now + 4_000
    after.announce("a", "weather", "file")
    after.call("file a", 2_000)
    expect(model.apply(after.source("file", "connected"), after.now)).toBe(false)
    expect(model.apply(after.snapshot(), after.now)).toBe(true)
    expect(model.take(after.now, 0).instances?.differ).toMatchObject([{ fields: { calls: 2_000, since: after.now } }])
    expect(wholeOf(model, after.now).instances?.rows).toMatchObject([{ calls: 2_000, rate: 0 }])
  })

  it("goes on where ids say nothing of their order", () => {
    const gateway = new Gateway()
    const model = new Model()
    const { id: _, ...snapshot } = gateway.snapshot()
    model.apply(snapshot, gateway.now)
    model.take(gateway.now, 0)
    for (const id of ["opaque", "other"]) {
      expect(model.apply({ ...gateway.announce(id, "weather", "file"), id }, gateway.now)).toBe(true)
    }
    expect(model.take(gateway.now, 0).instances?.rows?.length).toBe(2)
    expect(wholeOf(model, gateway.now).services?.rows?.length).toBe(1)
  })

  it("says an instance once, and only where it differs", () => {
    const gateway = new Gateway()
    const model = new Model()
    model.apply(gateway.snapshot(), gateway.now)
    model.apply(gateway.announce("a", "weather", "file"), gateway.now)
    for (const status of ["healthy", "degraded", "healthy"] as const) {
      const event = gateway.health("file a", status, "")
      if (event !== undefined) model.apply(event, gateway.now)
    }
    expect(model.urgent).toBe(true)
    expect(model.take(gateway.now, 0).instances).toMatchObject({
      rows: [{ id: "a", state: "healthy" }],
      differ: [],
      gone: []
    })
    expect(model.stirred).toBe(false)
    model.apply(gateway.announce("a", "weather", "file"), gateway.now)
    expect(model.take(gateway.now, 0)).toEqual({ whole: false, at: gateway.now, skew: 0 })
  })

  it("bounds the figures of a frame, and tells all of them in the end", () => {
    const gateway = new Gateway()
    for (let n = 0; n < 700; n++) gateway.announce(`i${n}`, "weather", "file")
    const model = new Model()
    model.apply(gateway.snapshot(), gateway.now)
    model.take(gateway.now, 0)
    gateway.now += 500
    for (let n = 0; n < 700; n++) gateway.call(`file i${n}`, n + 1)
    const snapshot = gateway.snapshot()
    if (snapshot.event === "snapshot" && snapshot.data.figures !== undefined) {
      const { figures } = snapshot.data
      gateway.number = 0
      model.apply({ event: "figures", id: "run.701", data: { at: gateway.at, ...figures } }, gateway.now)
    }
    let view = model.whole(gateway.now, 0).reduce(withFrame, empty)
    const told = new Map<string, number>()
    let frames = 0
    while (model.stirred) {
      const frame = model.take(gateway.now, 0)
      const { instances: { differ = [] } = {} } = frame
      // And each step of them is short.
      for (const step of stepsOf(frame)) {
        const { instances } = view
        view = step(view)
        expect(view.instances.rows.filter((row) => row !== instances.get(row.key)).length).toBeLessThanOrEqual(64)
      }
      expect(differ.length).toBeLessThanOrEqual(250)
      for (const { fields, key } of differ) told.set(key, fields.calls ?? 0)
      frames++
    }
    expect(frames).toBe(3)
    const all = Array.from({ length: 700 }, (_, n) => n + 1)
    expect(Array.from(told.values()).sort((a, b) => a - b)).toEqual(all)
    expect(view.instances.rows.map(({ calls }) => calls).sort((a, b) => a - b)).toEqual(all)
  })

  it("tells everything in parts: what sums it up first, and the instances a few hundred at a time", () => {
    const gateway = new Gateway()
    for (let n = 0; n < 1_200; n++) gateway.announce(`i${n}`, `service-${n % 7}`, "file")
    const model = new Model()
    expect(model.whole(gateway.now, 0)).toEqual([])
    model.apply(gateway.snapshot(), gateway.now)
    model.take(gateway.now, 0)
    const parts = model.whole(gateway.now, 0)
    expect(parts.map(({ instances }) => instances?.rows?.length ?? 0)).toEqual([0, 500, 500, 200])
    let view = empty
    const ready = parts.map((part) => (view = withFrame(view, part)).ready)
    expect(ready).toEqual([false, false, false, true])
    expect(view.instances.rows.length).toBe(1_200)
    expect(withFrame(empty, parts[0] ?? { whole: false, at: 0, skew: 0 }).totals?.instances).toBe(1_200)
  })

  it("tells steady failovers as one number", () => {
    const gateway = new Gateway()
    const model = new Model()
    model.apply(gateway.snapshot(), gateway.now)
    const seen = new Set<number | undefined>()
    for (let second = 0; second <= 30; second++) {
      gateway.failovers += 10
      model.apply(gateway.figures([], 0, 0), gateway.now)
      model.take(gateway.now, 0)
      if (second >= 15) seen.add(wholeOf(model, gateway.now).totals?.failovers)
      gateway.now += 1_000
    }
    expect(Array.from(seen)).toEqual([10])
  })

  it("tells changes once, the newest first", () => {
    const model = new Model()
    const change = (id: string) => ({
      id,
      at: new Date(begun).toISOString(),
      type: "removed" as const,
      source: "file",
      reason: "gone"
    })
    model.changes([change("2"), change("1")])
    expect(model.take(begun, 0).changes?.map(({ id }) => id)).toEqual(["2", "1"])
    model.changes([change("4"), change("3"), change("2")])
    expect(model.take(begun, 0).changes?.map(({ id }) => id)).toEqual(["4", "3"])
    expect(model.take(begun, 0).changes).toBeUndefined()
  })
})

const one: Happening = {
  what: "source",
  id: "a",
  service: "weather",
  source: "file",
  region: "",
  status: "healthy",
  circuit: undefined,
  state: "connected",
  calls: 0,
  pause: 0
}
