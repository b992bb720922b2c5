/**
 * Where everything of the chart is. Computed, not simulated: the same fleet gives the same picture.
 *
 * **Mental model**: callers on the left, the rose of the gateway in the middle, services on the right, a row each. Lines
 * are straight, in the order of the rows, and leave the rose at points that are spread evenly over its edge: none cross,
 * and those to far rows don't lie on each other.
 *
 * **Details**: rows are as high as their number allows, never by what is in them, so that nothing has to be measured and a
 * row that changes moves no other.
 */

export interface Point {
  readonly x: number
  readonly y: number
}

export interface Line {
  readonly from: Point
  readonly to: Point
}

export interface Layout {
  readonly rose: Point
  /** The middles of the callers' labels. */
  readonly callers: ReadonlyArray<Point>
  /** From caller to rose. */
  readonly arrivals: ReadonlyArray<Line>
  /** From rose to service. */
  readonly routes: ReadonlyArray<Line>
  /** The net of rhumb lines behind all, as a path. */
  readonly net: string
  readonly height: number
}

export interface Drawn {
  /** Of what is left of the services. */
  readonly width: number
  /** Of the headings. */
  readonly head: number
  /** Of one row. */
  readonly row: number
  readonly services: number
  readonly callers: number
}

/** Of the rose. */
export const radius = 27

/** A row of two lines, of two close ones, or of one; with its rule. What can be pointed at is never lower than 24 px. */
export const rowHeight = (services: number): 49 | 37 | 25 => services <= 14 ? 49 : services <= 19 ? 37 : 25

/** The rose stays in what is seen first, however long the chart is. */
const lowest = 350
/** Of the callers: where they begin, and which part of the width they take. */
export const labels = { left: 14, part: 0.41 }
const callerHeight = { least: 40, most: 104 }
const knots = 16
const netReach = 330

const round = (value: number): number => Math.round(value * 10) / 10
const point = (x: number, y: number): Point => ({ x: round(x), y: round(y) })

/** Lines between the edge of the rose and `ends`, which are all on one side of it, from top to bottom. */
const fan = (rose: Point, ends: ReadonlyArray<Point>): ReadonlyArray<Line> => {
  const angle = (end: Point): number => Math.atan2(end.y - rose.y, Math.abs(end.x - rose.x))
  const spread = (some: ReadonlyArray<Point>): ReadonlyArray<Line> => {
    const [first] = some
    const last = some.at(-1)
    if (first === undefined || last === undefined) return []
    const step = (angle(last) - angle(first)) / Math.max(1, some.length - 1)
    return some.map((to, index) => {
      const at = angle(first) + index * step
      const side = to.x < rose.x ? -1 : 1
      return { from: point(rose.x + side * radius * Math.cos(at), rose.y + radius * Math.sin(at)), to }
    })
  }
  // Each half for itself: the rose isn't always in the middle.
  return [...spread(ends.filter(({ y }) => y < rose.y)), ...spread(ends.filter(({ y }) => y >= rose.y))]
}

/** Sixteen points on a circle, each tied to all others, as on a portolan chart. */
const net = (centre: Point, reach: number): string => {
  const circle = Array.from({ length: knots }, (_, index) => {
    const at = index * 2 * Math.PI / knots
    return point(centre.x + reach * Math.cos(at), centre.y + reach * Math.sin(at))
  })
  return circle.flatMap((from, index) => circle.slice(index + 1).map((to) => `M${from.x} ${from.y}L${to.x} ${to.y}`))
    .join("")
}

export const layout = ({ callers, head, row, services, width }: Drawn): Layout => {
  const body = Math.max(services * row, callers * callerHeight.least, 150)
  const rose = point(width * 0.64, head + Math.min(services * row < body ? body / 2 : services * row / 2, lowest))
  // Around the rose, as far apart as its way to the edge allows.
  const reach = Math.min(rose.y - head, head + body - rose.y) * 2
  const apart = callers === 0 ? 0 : Math.min(callerHeight.most, reach / callers)
  const middles = Array.from(
    { length: callers },
    (_, index) => point(labels.left, rose.y + (index - (callers - 1) / 2) * apart)
  )
  const starts = middles.map(({ y }) => point(width * labels.part, y))
  const rows = Array.from({ length: services }, (_, index) => point(width - 2, head + (index + 0.5) * row))
  return {
    rose,
    callers: middles,
    arrivals: fan(rose, starts).map(({ from, to }) => ({ from: to, to: from })),
    routes: fan(rose, rows),
    net: net(rose, netReach),
    height: head + body
  }
}

/** 1, 2, 5, 10, …: the first that isn't less, and 10 at least. What is the widest line changes rarely. */
export const ceiling = (rate: number): number => {
  if (!Number.isFinite(rate) || rate <= 10) return 10
  const ten = 10 ** Math.floor(Math.log10(rate))
  return [1, 2, 5, 10].map((step) => step * ten).find((step) => step >= rate) ?? 10 * ten
}

/** Width of a line: with the root of the rate, so that its calls are told apart over three decades. */
export const lineWidth = (rate: number, widest: number, services: number): number => {
  const most = services <= 20 ? 8 : services <= 40 ? 6.5 : 5
  return round(Math.max(1, most * Math.sqrt(Math.min(1, Math.max(0, rate) / widest))))
}

export interface Columns {
  /** Of callers, rose and lines; 0 where there is no room for them. */
  readonly lines: number
  /** Where the table begins. */
  readonly start: number
  /** There isn't even room for columns: each service is a paragraph. */
  readonly list: boolean
  readonly service: number
  readonly region: number
  /** Of the whole table. */
  readonly table: number
  /** That is more than there is room for: it is scrolled. */
  readonly wide: boolean
}

/** Calls, p95 and errors. */
export const figureColumns = [48, 56, 52]
const serviceWidth = { least: 148, most: 240 }
/** Of callers, rose and lines. */
const linesWidth = { least: 244, most: 400, part: 0.325 }
/** Of a region: for a mark and some ticks, and for dots. */
const regionWidth = { least: 60, most: 190 }
/** Narrower ones have their name upright. */
export const slim = 68
const edge = 14
/** Of the names of regions in the list. */
const listName = 96

export const columns = (width: number, regions: number): Columns => {
  const figures = figureColumns.reduce((sum, column) => sum + column)
  if (width < 480) {
    const table = Math.max(0, width - 2 * edge)
    const region = Math.max(slim, table - listName)
    return { lines: 0, start: edge, list: true, service: table, region, table, wide: false }
  }
  // With many regions the lines have the least that they need.
  const wanted = Math.min(width * linesWidth.part, width - figures - serviceWidth.least - regions * slim)
  const lines = width < 700 ? 0 : Math.round(Math.min(linesWidth.most, Math.max(linesWidth.least, wanted)))
  const start = lines === 0 ? edge : lines
  const room = width - start - figures
  const service = Math.round(
    Math.min(serviceWidth.most, Math.max(serviceWidth.least, room - regions * regionWidth.most))
  )
  const region = Math.max(regionWidth.least, Math.floor((room - service) / Math.max(1, regions)))
  const least = service + figures + regions * region
  return {
    lines,
    start,
    list: false,
    service,
    region,
    table: Math.max(width - start, least),
    wide: least > width - start
  }
}
