import { describe, expect, it } from "vitest"
import { Model } from "../../src/fleet/model.ts"
import { empty, withFrame } from "../../src/fleet/view.ts"
import { Gateway } from "./gateway.ts"

/** ms of this thread's own work, however busy the machine is. */
const work = (run: () => void): number => {
  const before = process.threadCpuUsage()
  run()
  const { system, user } = process.threadCpuUsage(before)
  return (system + user) / 1000
}

const share = (values: ReadonlyArray<number>, part: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? Infinity

describe("2,000 instances of 60 services, 200 updates a second", () => {
  const gateway = new Gateway()
  for (let n = 0; n < 2_000; n++) {
    gateway.announce(`i${n}`, `service-${n % 60}`, `source-${n % 4}`, { region: `region-${n % 3}` })
    gateway.health(`source-${n % 4} i${n}`, "healthy", "check passed")
  }
  const model = new Model()

  it("a frame costs the worker and a page at most 8 ms", () => {
    model.apply(gateway.snapshot(), gateway.now)
    model.take(gateway.now, 0)
    let view = model.whole(gateway.now, 0).reduce(withFrame, empty)
    const [worker, page]: readonly [Array<number>, Array<number>] = [[], []]
    for (let frame = 0; frame < 80; frame++) {
      gateway.now += 500
      const called = Array.from({ length: 100 }, (_, n) => (frame * 389 + n * 97) % 2_000)
      const event = gateway.figures(called.map((at) => `source-${at % 4} i${at}`), 3, frame % 10 === 0 ? 1 : 0)
      let frames: ReadonlyArray<ReturnType<Model["take"]>> = []
      worker.push(work(() => {
        expect(model.apply(event, gateway.now)).toBe(true)
        if (frame % 2 === 0) model.tick(gateway.now)
        frames = [model.take(gateway.now, 0)]
      }))
      const [sent] = frames
      if (sent === undefined) continue
      page.push(work(() => {
        view = withFrame(view, structuredClone(sent))
      }))
    }
    // The medians: now and then a collection of garbage falls into a frame, and where the machine is busy all is slower.
    const told = [worker, page].map((times) => `${share(times, 0.5).toFixed(1)} and ${share(times, 0.95).toFixed(1)}`)
    console.log(`ms a frame, p50 and p95: worker ${told[0]}, page ${told[1]}`)
    expect(share(worker, 0.5)).toBeLessThan(8)
    expect(share(page, 0.5)).toBeLessThan(8)
    expect(view.totals?.calls).toBe(Array.from(gateway.services.values()).reduce((sum, { calls }) => sum + calls, 0))
  })
})
