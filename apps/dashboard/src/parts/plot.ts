/**
 * What a plot draws and says: its text for whoever doesn't see it, where its annotations go, and its options for uPlot.
 */
import type uPlot from "uplot"
import { clock, none } from "./format.ts"

/** Colour of a line, by what it tells. */
export type Tone = "route" | "quiet" | "warn" | "bad"

export interface Series {
  readonly label: string
  /** As long as the times; `null`: nothing was counted. */
  readonly values: ReadonlyArray<number | null>
  /** Lines differ by their dash too, not by colour alone. Default solid. */
  readonly dash?: "dashed" | "dotted"
  /** Default `route`. */
  readonly tone?: Tone
  /** Whether the area below is tinted. */
  readonly fill?: boolean
}

export interface Annotation {
  /** Epoch s. */
  readonly at: number
  readonly text: string
}

const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 })
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" })

/** `96.4`, `1,240`; `–` where nothing was counted. */
export const amount = (value: number | null | undefined): string =>
  value === null || value === undefined ? none : Math.abs(value) >= 1000 ? whole.format(value) : digits.format(value)

/** `03:31`, of epoch s. */
const timeOf = (at: number): string => minute.format(at * 1000)

const withUnit = (text: string, unit: string): string => unit === "" || text === none ? text : `${text} ${unit}`

/** The plot as sentences: each line's last value, and its least and greatest. */
export const summary = (
  label: string,
  times: ReadonlyArray<number>,
  series: ReadonlyArray<Series>,
  unit: string,
  annotations: ReadonlyArray<Annotation> = []
): string => {
  const first = times[0]
  const last = times.at(-1)
  if (first === undefined || last === undefined) return `${label}: nothing counted yet.`
  const lines = series.map((line) => {
    const counted = line.values.filter((value) => value !== null)
    if (counted.length === 0) return `${line.label}: nothing counted.`
    // One by one: a spread of a long series is a long list of arguments.
    const least = counted.reduce((a, b) => Math.min(a, b))
    const greatest = counted.reduce((a, b) => Math.max(a, b))
    const now = withUnit(amount(line.values.at(-1)), unit)
    return `${line.label}: ${now} now, ${amount(least)} to ${withUnit(amount(greatest), unit)}.`
  })
  const marks = annotations
    .filter(({ at }) => at >= first && at <= last)
    .map(({ at, text }) => `${text} at ${clock(at * 1000)}`)
  return [
    `${label}, ${timeOf(first)} to ${timeOf(last)}.`,
    ...lines,
    ...marks.length === 0 ? [] : [`Events: ${marks.join(", ")}.`]
  ].join(" ")
}

/** Where the label of an annotation begins, px; none: there is no room for it. */
export interface Placed {
  readonly line: number
  readonly text: string
  readonly left: number | undefined
}

/**
 * Puts labels beside their lines: to the left of it, or to its right where that is outside. The newest has its label
 * first, and one that would lie on another is left out; its line stays.
 */
export const place = (
  marks: ReadonlyArray<{ readonly x: number; readonly width: number; readonly text: string }>,
  left: number,
  right: number,
  gap: number
): ReadonlyArray<Placed> => {
  const taken: Array<{ from: number; to: number }> = []
  return marks
    .filter(({ x }) => x >= left && x <= right)
    .toSorted((a, b) => b.x - a.x)
    .map(({ text, width, x }) => {
      const begin = [x - gap - width, x + gap].find((from) =>
        from >= left && from + width <= right &&
        taken.every((other) => from + width + gap <= other.from || from >= other.to + gap)
      )
      if (begin !== undefined) taken.push({ from: begin, to: begin + width })
      return { line: x, text, left: begin }
    })
}

/** Colours by their role, as the theme has them now. */
export type Colour = (role: Tone | "fill" | "text" | "grid" | "mark") => string

const wholes = Array.from({ length: 7 }, (_, power) => [1, 2, 5].map((each) => each * 10 ** power)).flat()
const dashes = { dashed: [6, 4], dotted: [2, 3] }

export interface Drawing {
  readonly series: ReadonlyArray<Series>
  readonly annotations: () => ReadonlyArray<Annotation>
  readonly colour: Colour
  /** Of the text at the axes: `11px "IBM Plex Sans"`. */
  readonly font: string
  /** Whether there is nothing between whole numbers. */
  readonly whole: boolean
  /** Time that is shown at least, s. */
  readonly window: number
  readonly sync: string | undefined
  /** The point under the cursor; none: there is no cursor. */
  readonly onpoint: (index: number | undefined) => void
}

/** The options of uPlot, but for its size. */
export const optionsOf = (drawing: Drawing): Omit<uPlot.Options, "width" | "height"> => ({
  legend: { show: false },
  // Half of the last time is beside its line.
  padding: [16, 16, 0, 0],
  cursor: {
    y: false,
    drag: { x: false, y: false },
    points: { size: 6 },
    ...drawing.sync === undefined ? {} : { sync: { key: drawing.sync, scales: ["x", null] } }
  },
  scales: {
    x: { range: (_, from, to) => to === null ? [from, to] : [Math.min(from ?? to, to - drawing.window), to] },
    // From zero, so that a small change doesn't look like a large one.
    y: { range: (_, __, to) => [0, to === null || to <= 0 ? 1 : to * 1.12] }
  },
  axes: [
    {
      font: drawing.font,
      size: 22,
      gap: 4,
      space: 64,
      stroke: () => drawing.colour("text"),
      grid: { show: false },
      ticks: { show: false },
      values: (_, splits) => splits.map(timeOf)
    },
    {
      font: drawing.font,
      size: 44,
      gap: 6,
      space: 30,
      ...drawing.whole ? { incrs: wholes } : {},
      stroke: () => drawing.colour("text"),
      grid: { stroke: () => drawing.colour("grid"), width: 1 },
      ticks: { show: false },
      values: (_, splits) => splits.map(amount)
    }
  ],
  series: [
    {},
    ...drawing.series.map((line): uPlot.Series => ({
      label: line.label,
      stroke: () => drawing.colour(line.tone ?? "route"),
      width: 1.5,
      points: { size: 4 },
      ...line.dash === undefined ? {} : { dash: dashes[line.dash] },
      ...line.fill === true ? { fill: () => drawing.colour("fill") } : {}
    }))
  ],
  hooks: {
    setCursor: [({ cursor: { idx, left = -1 } }) => drawing.onpoint(left < 0 ? undefined : idx ?? undefined)],
    draw: [(plot) => annotate(plot, drawing)]
  }
})

const annotate = (plot: uPlot, { annotations, colour, font }: Drawing): void => {
  const { bbox, ctx } = plot
  const ratio = devicePixelRatio
  ctx.save()
  ctx.font = `italic ${font.replace(/^([\d.]+)px/, (_, size: string) => `${Number(size) * ratio}px`)}`
  ctx.textAlign = "left"
  ctx.textBaseline = "alphabetic"
  ctx.fillStyle = ctx.strokeStyle = colour("mark")
  ctx.lineWidth = ratio
  ctx.setLineDash([3 * ratio, 3 * ratio])
  const marks = annotations().map(({ at, text }) => ({
    x: Math.round(plot.valToPos(at, "x", true)),
    text,
    width: ctx.measureText(text).width
  }))
  for (const { left, line, text } of place(marks, bbox.left, bbox.left + bbox.width, 4 * ratio)) {
    ctx.beginPath()
    ctx.moveTo(line, bbox.top)
    ctx.lineTo(line, bbox.top + bbox.height)
    ctx.stroke()
    // Above the plot: nothing is drawn there.
    if (left !== undefined) ctx.fillText(text, left, bbox.top - 4 * ratio)
  }
  ctx.restore()
}
