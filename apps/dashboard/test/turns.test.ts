import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { first, inTurn } from "../src/parts/turns.ts"

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

const done: Array<string> = []
const work = (name: string, takes: number, latest?: number) =>
  inTurn(() => {
    done.push(name)
    now += takes
  }, latest)

/** What each frame of the screen did. */
const shown = (): ReadonlyArray<string> => {
  const told: Array<string> = []
  for (let frame = frames.shift(); frame !== undefined; frame = frames.shift()) {
    frame()
    told.push(done.splice(0).join(" "))
  }
  return told
}

it("what is drawn takes turns: each frame of the screen does what it has time for, and no frame nothing", () => {
  work("long", 10)
  for (const name of ["a", "b", "c"]) work(name, 1)
  expect(shown()).toEqual(["long", "a b", "c"])
})

it("what has more to do goes on before all others, and what fills a page takes more of a frame", () => {
  let times = 0
  inTurn(() => {
    done.push("step")
    now += 3
    return ++times < 3
  })
  for (const name of ["a", "b", "c"]) work(name, 5, first)
  expect(shown()).toEqual(["step", "step", "step a b c"])
})

it("what has waited for long isn't kept waiting for how smooth it is", () => {
  for (const name of ["a", "b", "c", "d"]) work(name, 2)
  now += 1_001
  expect(shown()).toEqual(["a b", "c d"])
})
