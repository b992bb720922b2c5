import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import type { Cell, State } from "../src/fleet/rows.ts"
import { cellName, type Drawn, drawnAs, marksOf } from "../src/pages/chart/cells.ts"
import { blame, pastOf, range } from "../src/pages/chart/figures.ts"
import { ceiling, columns, layout, type Line, lineWidth, radius, rowHeight, slim } from "../src/pages/chart/layout.ts"
import { pathsOf } from "../src/pages/chart/marks.ts"
import { kept, slots, troubleFirst } from "../src/pages/chart/order.ts"
import { service } from "./rows.ts"

const drawn = (services: number, callers = 5, width = 300) =>
  layout({ width, head: 56, row: rowHeight(services), services, callers })

/** Whether two lines cross, their ends not counted. */
const cross = (one: Line, other: Line): boolean => {
  const side = ({ from, to }: Line, { x, y }: { x: number; y: number }) =>
    Math.sign((to.x - from.x) * (y - from.y) - (to.y - from.y) * (x - from.x))
  return side(one, other.from) * side(one, other.to) < 0 && side(other, one.from) * side(other, one.to) < 0
}

describe("layout of the chart", () => {
  it("is the same for the same fleet", () => {
    assert.deepEqual(drawn(14), drawn(14))
  })

  it("has a line for each service and caller that ends at its row, and leaves the rose at its edge", () => {
    const { arrivals, callers, rose, routes } = drawn(14)
    assert.equal(routes.length, 14)
    routes.forEach(({ from, to }, index) => {
      assert.closeTo(to.y, 56 + 49 * (index + 0.5), 0.1)
      assert.closeTo(Math.hypot(from.x - rose.x, from.y - rose.y), radius, 0.2)
    })
    assert.deepEqual(arrivals.map(({ from }) => from.y), callers.map(({ y }) => y))
  })

  it("crosses no lines and lets none go back through the rose, whatever there is", () => {
    fc.assert(fc.property(
      fc.integer({ min: 0, max: 120 }),
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 200, max: 480 }),
      (services, callers, width) => {
        const { arrivals, height, rose, routes } = drawn(services, callers, width)
        for (const lines of [routes, arrivals.map(({ from, to }) => ({ from: to, to: from }))]) {
          lines.forEach((line, index) => {
            const next = lines[index + 1]
            if (next !== undefined) assert.isFalse(cross(line, next), `${index} crosses the next`)
            const outward = (line.from.x - rose.x) * (line.to.x - line.from.x) +
              (line.from.y - rose.y) * (line.to.y - line.from.y)
            assert.isAbove(outward, 0, `${index} enters the rose`)
            assert.isTrue([line.to.x, line.to.y, line.from.x, line.from.y].every(Number.isFinite))
            assert.isTrue(line.to.y >= 56 && line.to.y <= height)
          })
        }
      }
    ))
  })

  it("keeps callers apart", () => {
    const { callers } = drawn(2, 12)
    callers.slice(1).forEach(({ y }, index) => assert.isAtLeast(y - (callers[index]?.y ?? 0), 38))
  })

  it("keeps the rose in what is seen first", () => {
    assert.isBelow(drawn(60).rose.y, 450)
    assert.equal(drawn(28).rose.y, 56 + 28 * 12.5)
  })

  it("takes less than a millisecond for 2,048 lines", () => {
    const times = Array.from({ length: 20 }, () => {
      const began = performance.now()
      drawn(2048, 12)
      return performance.now() - began
    })
    assert.isBelow(Math.min(...times), 1)
  })

  it("draws widths by the root of the rate, on a scale that seldom changes", () => {
    assert.deepEqual([0, 3, 10, 11, 96, 168, 501, 1177, NaN].map(ceiling), [10, 10, 10, 20, 100, 200, 1000, 2000, 10])
    assert.equal(lineWidth(100, 100, 14), 8)
    assert.equal(lineWidth(25, 100, 14), 4)
    assert.equal(lineWidth(0, 100, 14), 1)
    assert.equal(lineWidth(500, 100, 14), 8)
  })
})

describe("columns of the chart", () => {
  it("fill the width, and are scrolled only where regions would be too narrow", () => {
    fc.assert(fc.property(fc.integer({ min: 480, max: 2400 }), fc.integer({ min: 1, max: 60 }), (width, regions) => {
      const { lines, list, region, service, start, table } = columns(width, regions)
      assert.isFalse(list)
      assert.isTrue(lines === 0 || lines === start)
      assert.isAtLeast(region, 50)
      assert.isAtLeast(service, 148)
      assert.isAtLeast(start + table, width)
      if (width >= 890 && regions <= 5) {
        assert.equal(start + table, width)
        // Ten healthy ones are ten ticks, under the name of their region.
        assert.isAtLeast(region, slim)
        assert.equal(drawnAs([cell(10)], { width: region - 14, lines: 1 }) === "numbers", false)
      }
    }))
  })

  it("give way to a list where there is no room", () => {
    const { list, region, start, table } = columns(280, 3)
    assert.isTrue(list)
    assert.isAtMost(start + table, 280)
    assert.isBelow(region, table)
  })
})

const cell = (healthy: number, exceptions: ReadonlyArray<State> = [], more = 0): Cell => ({
  region: "us-west-2",
  total: healthy + exceptions.length + more,
  healthy,
  exceptions: exceptions.map((state, index) => ({ key: `s\u0000${index}`, id: String(index), state }))
})

describe("cells of the chart", () => {
  it("are called by what is in them", () => {
    assert.equal(
      cellName("weather", "us-west-2", cell(4, ["ejected"])),
      "weather, us-west-2: 5 instances, 4 healthy, 1 ejected"
    )
    assert.equal(
      cellName("x", "", cell(1200, ["unknown", "down", "down"], 40)),
      "x, no region: 1,243 instances, 1,200 healthy, 2 down, 1 unknown, 40 more not healthy"
    )
    assert.equal(cellName("x", "eu", cell(1)), "x, eu: 1 instance, 1 healthy")
    assert.equal(cellName("x", "eu", undefined), "x, eu: no instances")
  })

  it("show every instance, as a mark or in a number, within their room", () => {
    fc.assert(fc.property(
      fc.nat(3000),
      fc.nat(64),
      fc.nat(200),
      fc.integer({ min: 20, max: 400 }),
      fc.constantFrom<1 | 2>(1, 2),
      (healthy, exceptions, more, width, lines) => {
        const of = cell(healthy, Array.from({ length: exceptions }, () => "down"), exceptions === 64 ? more : 0)
        const drawn = drawnAs([of], { width, lines })
        const { exceptions: marks, healthy: [first, next], rest } = marksOf(of, { width, lines }, drawn)
        const number = Number(rest.replace(/^.*\/|[+,]/g, ""))
        assert.equal(drawn === "numbers" ? number : marks.length + first + next + number, of.total)
        assert.isTrue(first >= 0 && next >= 0)
        // Trouble is never folded behind what is well.
        if (exceptions > 0) assert.isAbove(marks.length, 0)
      }
    ))
  })

  it("are dots while there is room, and ticks beyond", () => {
    const room = { width: 104, lines: 2 } as const
    assert.equal(drawnAs([cell(15, ["down"])], room), "dots")
    assert.equal(drawnAs([cell(15, ["down"]), cell(17)], room), "ticks")
    assert.equal(drawnAs([cell(17)], { width: 40, lines: 2 }), "numbers")
    assert.deepEqual(marksOf(cell(15, ["down"]), room, "dots").healthy, [7, 8])
    assert.deepEqual(marksOf(cell(60), room, "ticks"), { exceptions: [], healthy: [24, 0], rest: "+36" })
    // A number takes the room of ticks only where not all are drawn.
    const slim = { width: 56, lines: 1 } as const
    assert.deepEqual(marksOf(cell(10, ["down", "down"]), slim, "ticks").healthy, [10, 0])
    assert.deepEqual(marksOf(cell(11, ["down", "down"]), slim, "ticks").rest, "+9")
    assert.equal(marksOf(cell(60), room, "numbers").rest, "60")
    assert.equal(marksOf(cell(7, ["down", "down", "ejected", "unknown"]), room, "numbers").rest, "7/11")
  })
})

describe("marks of a row", () => {
  const room = { width: 56, lines: 1 } as const
  const drawing = (drawn: Drawn, ...cells: ReadonlyArray<Cell>) =>
    pathsOf(cells.map((cell, at) => ({ marks: marksOf(cell, room, drawn), left: at * 100 })), room, drawn, 12)
  const path = (paths: ReturnType<typeof drawing>, state: State) => paths.find((each) => each.state === state)?.path

  it("are one path for each state, however many cells there are", () => {
    const paths = drawing("ticks", cell(3, ["down", "stale"]), cell(2, ["down"]), cell(0, ["stale"]))
    assert.deepEqual(paths.map(({ state }) => state), ["down", "stale", "healthy"])
    // A cross is two strokes: one in the first cell, one in the second.
    assert.equal(path(paths, "down"), "M8.4 8.4 15.6 15.6M15.6 8.4 8.4 15.6M108.4 8.4 115.6 15.6M115.6 8.4 108.4 15.6")
    // A tick is two wide, and one from the next.
    assert.equal(path(paths, "healthy"), "M33 12H41M120 12H125")
  })

  it("are broken into lines where each is a dot", () => {
    const two = { width: 56, lines: 2 } as const
    const marks = marksOf(cell(5, ["down"]), two, "dots")
    const paths = pathsOf([{ marks, left: 0 }], two, "dots", 24)
    assert.equal(path(paths, "healthy"), "M25 16.5H57M12 31.5H31")
  })
})

describe("order of the chart", () => {
  it("is trouble first, then by calls", () => {
    const rows = [
      service("a", { state: "healthy", calls: 1 }),
      service("b", { state: "degraded" }),
      service("c", { state: "healthy", calls: 9 }),
      service("d", { state: "down" }),
      service("e", { state: "draining", calls: 5 })
    ]
    assert.deepEqual(rows.toSorted(troubleFirst).map(({ name }) => name), ["d", "b", "c", "e", "a"])
  })

  it("stays: who is gone leaves, who is new comes last", () => {
    const shown = ["d", "b", "c"]
    const there = (...names: ReadonlyArray<string>) => names.map((name) => service(name))
    assert.equal(kept(shown, there("b", "c", "d")), shown)
    assert.deepEqual(kept(shown, there("c", "x", "b")), ["b", "c", "x"])
    const trouble = [service("x", { calls: 9 }), service("y", { state: "down" }), ...there("b")]
    assert.deepEqual(kept(shown, trouble), ["b", "y", "x"])
    assert.deepEqual(kept([], trouble), ["y", "x", "b"])
  })

  it("keeps the places of those who ask, and gives away those of who doesn't any more", () => {
    assert.deepEqual(slots([], ["b", "a"], false), ["b", "a"])
    assert.deepEqual(slots(["b", "a", "c"], ["a", "c"], false), ["b", "a", "c"])
    assert.deepEqual(slots(["b", "a", "c"], ["x", "a", "c", "y"], false), ["x", "a", "c", "y"])
    assert.deepEqual(slots(["b", "a", "c"], ["b"], false), ["b"])
    assert.deepEqual(slots(["b", "a"], [], false), [])
    assert.deepEqual(slots(["b", "a"], ["x"], true), ["b", "a", "x"])
  })
})

describe("figures", () => {
  it("names whose calls fail, where one stands out", () => {
    assert.equal(blame([]), undefined)
    assert.equal(blame([service("a", { state: "healthy", rate: 10, failed: 0 })]), undefined)
    assert.equal(
      blame([
        service("a", { state: "healthy", rate: 10, failed: 0 }),
        service("b", { state: "down", rate: 1, failed: 1 })
      ]),
      "all b"
    )
    assert.equal(
      blame([
        service("a", { state: "healthy", rate: 1, failed: 0.3 }),
        service("b", { state: "down", rate: 1, failed: 1 })
      ]),
      "mostly b"
    )
    assert.equal(
      blame([
        service("a", { state: "healthy", rate: 1, failed: 0.9 }),
        service("b", { state: "down", rate: 1, failed: 1 })
      ]),
      undefined
    )
  })

  const empty = { calls: [], failures: [], inFlight: [], p50: [], p95: [] }

  it("are rates and shares, and nothing where nothing was counted", () => {
    const past = pastOf({
      step: 10,
      times: [10, 20, 30],
      gateway: {
        ...empty,
        calls: [null, 0, 100],
        failures: [null, 0, 5],
        failovers: [null, 0, 20],
        p95: [null, null, 61],
        memory: []
      },
      // A hedge is an attempt more, and no failover.
      services: [{ ...empty, service: "a", calls: [null, 0, 170] }]
    }, 30)
    assert.deepEqual(past, {
      calls: [null, 0, 10],
      failed: [null, null, 0.05],
      p95: [null, null, 61],
      failovers: [null, 0, 2]
    })
    assert.deepEqual(past.calls, [null, 0, 10])
    assert.equal(range(past.calls, String), "between 0 and 10")
    assert.equal(range([null], String), "nothing yet")
  })
})
