import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { inTurn } from "../src/parts/turns.ts"

const frames: Array<() => void> = []
let now = 0

beforeEach(() => {
  vi.stubGlobal("requestAnimationFrame", (callback: () => void) => frames.push(callback))
  vi.spyOn(performance, "now").mockImplementation(() => now)
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

it("what is drawn takes turns: each frame of the screen does what it has time for, and no frame nothing", () => {
  const done: Array<string> = []
  const work = (name: string, takes: number) =>
    inTurn(() => {
      done.push(name)
      now += takes
    })
  work("long", 10)
  for (const name of ["a", "b", "c"]) work(name, 0.5)
  const told: Array<string> = []
  for (let frame = frames.shift(); frame !== undefined; frame = frames.shift()) {
    frame()
    told.push(done.splice(0).join(" "))
  }
  expect(told).toEqual(["long", "a b", "c"])
})
