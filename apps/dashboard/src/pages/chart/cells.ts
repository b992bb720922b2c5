/**
 * What is drawn in a cell of the chart, the instances of a service in one region, and what it is called.
 *
 * **Mental model**: what isn't healthy is a mark of its own, and comes first. Healthy ones are dots, or, where there are
 * too many, ticks; those that have no room are a number. So a cell costs few elements, however much is in it.
 */
import type { Cell, State } from "../../fleet/rows.ts"
import { states } from "../../fleet/rows.ts"
import { count, counted } from "../../parts/format.ts"

/** How much a cell has room for. */
export interface Room {
  readonly width: number
  readonly lines: 1 | 2
}

/** How instances are drawn, in all cells alike: each as a dot, or healthy ones as ticks, or as numbers. */
export type Drawn = "dots" | "ticks" | "numbers"

export interface Marks {
  readonly exceptions: Cell["exceptions"]
  /** Healthy ones that are drawn one by one: in the line of the exceptions, and in the next one. */
  readonly healthy: readonly [number, number]
  /** What is told of those that aren't: `+120`; healthy ones of all: `7/11`; empty: all are drawn. */
  readonly rest: string
}

/** Distance of marks and dots, and of ticks. */
export const pitch = { mark: 13, tick: 3 }

const mostTicks = 24
/** Of `+120`, with what keeps it apart. */
const numberWidth = (cell: Cell): number => 10 + 6 * count(cell.total).length
/** In less, ticks would all look alike. */
const leastForTicks = 44

/** How many marks a line has room for. */
export const inLine = ({ width }: Room): number => Math.max(1, Math.floor(width / pitch.mark))

export const drawnAs = (cells: Iterable<Cell>, room: Room): Drawn => {
  for (const { total } of cells) {
    if (total > inLine(room) * room.lines) return room.width < leastForTicks ? "numbers" : "ticks"
  }
  return "dots"
}

const known = new WeakMap<Cell, { readonly room: Room; readonly drawn: Drawn; readonly marks: Marks }>()

/** Of a cell that didn't change they are the same object again. */
export const marksOf = (cell: Cell, room: Room, drawn: Drawn): Marks => {
  const before = known.get(cell)
  if (before?.room === room && before.drawn === drawn) return before.marks
  const marks = marksIn(cell, room, drawn)
  known.set(cell, { room, drawn, marks })
  return marks
}

const marksIn = (cell: Cell, room: Room, drawn: Drawn): Marks => {
  const { exceptions: all, healthy, total } = cell
  if (drawn === "numbers") {
    const exceptions = all.slice(0, 1)
    return { exceptions, healthy: [0, 0], rest: total === healthy ? count(total) : `${count(healthy)}/${count(total)}` }
  }
  const more = (drawn: number): string => total > drawn ? `+${count(total - drawn)}` : ""
  if (drawn === "dots") {
    const first = Math.min(healthy, inLine(room) - all.length % inLine(room))
    return { exceptions: all, healthy: [first, healthy - first], rest: more(all.length + healthy) }
  }
  // One line: two lines of ticks would look like two rows. A number has room only where it is needed.
  const needed = all.length * pitch.mark + healthy * pitch.tick
  const whole = total === all.length + healthy && healthy <= mostTicks && needed <= room.width
  const width = room.width - (whole ? 0 : numberWidth(cell))
  const exceptions = all.slice(0, Math.max(1, Math.floor(width / pitch.mark)))
  const free = Math.floor((width - exceptions.length * pitch.mark) / pitch.tick)
  const ticks = Math.max(0, Math.min(healthy, mostTicks, free))
  return { exceptions, healthy: [ticks, 0], rest: more(exceptions.length + ticks) }
}

/** From the first mark of a cell to what is told of the rest: beside ticks the same whatever they are, so that it doesn't move. */
export const restAt = (cell: Cell, room: Room, drawn: Drawn, { exceptions, healthy: [first] }: Marks): number =>
  drawn === "ticks" ? room.width - numberWidth(cell) : (exceptions.length + first) * pitch.mark

export const regionName = (region: string): string => region === "" ? "no region" : region

/** `5 instances, 4 healthy, 1 ejected` */
const contents = (cell: Cell): string => {
  const others = new Map<State, number>()
  for (const { state } of cell.exceptions) others.set(state, (others.get(state) ?? 0) + 1)
  const untold = cell.total - cell.healthy - cell.exceptions.length
  return [
    counted(cell.total, "instance"),
    `${count(cell.healthy)} healthy`,
    ...states.flatMap((state) => others.has(state) ? [`${count(others.get(state))} ${state}`] : []),
    ...untold > 0 ? [`${count(untold)} more not healthy`] : []
  ].join(", ")
}

/** `weather, us-west-2: 5 instances, 4 healthy, 1 ejected` */
export const cellName = (service: string, region: string, cell: Cell | undefined): string =>
  `${service}, ${regionName(region)}: ${cell === undefined ? "no instances" : contents(cell)}`
