/**
 * Draws a scenario as an SVG: a line for each strategy, with how long its calls took on a logarithmic axis and what happened
 * over time. Its colours follow the reader's, light or dark.
 */

interface Line {
  readonly name: string
  /** Drawn so that it stands out. */
  readonly marked: boolean
  /** ms; none where no call succeeded. */
  readonly p50: number | undefined
  readonly p95: number | undefined
  readonly p99: number | undefined
  /** A value a second. */
  readonly series: ReadonlyArray<number>
  /** Written at the end of the line. */
  readonly figure: string
}

export interface Chart {
  readonly title: string
  readonly lines: ReadonlyArray<Line>
  /** What the series and its figure are. */
  readonly seriesTitle: string
  readonly figureTitle: string
  /** The value at the top of each series. */
  readonly top: number
  readonly topLabel: string
  /** Seconds at which something happens. */
  readonly marks: ReadonlyArray<number>
}

const width = 880
const row = 30
const above = 84
const below = 34
/** Where the columns are. */
const names = { left: 24, right: 176 }
const latencies = { left: 190, right: 520 }
const series = { left: 556, right: 776 }
const figures = { right: width - 24 }

const style = `
  .card { fill: #ffffff; stroke: #d1d9e0 }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .small { font-size: 11px; fill: #59636e }
  .strong { font-weight: 600 }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .mark { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 2 3 }
  .range { stroke: #afb8c1; stroke-width: 4; stroke-linecap: round }
  .dot { fill: #6e7781 }
  .marked .range { stroke: #80b8ff }
  .marked .dot { fill: #0969da }
  .hollow { fill: #ffffff; stroke: #6e7781; stroke-width: 2 }
  .marked .hollow { stroke: #0969da }
  .area { fill: #afb8c1; fill-opacity: 0.55; stroke: #6e7781; stroke-width: 1 }
  .marked .area { fill: #54aeff; fill-opacity: 0.45; stroke: #0969da }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d }
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .grid { stroke: #2f363d }
    .mark { stroke: #656c76 }
    .range { stroke: #4b535d }
    .dot { fill: #b1bac4 }
    .marked .range { stroke: #1f4f8f }
    .marked .dot { fill: #58a6ff }
    .hollow { fill: #0d1117; stroke: #b1bac4 }
    .marked .hollow { stroke: #58a6ff }
    .area { fill: #6e7681; fill-opacity: 0.4; stroke: #b1bac4 }
    .marked .area { fill: #388bfd; fill-opacity: 0.35; stroke: #58a6ff }
  }`

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

const round = (value: number): string => String(Math.round(value * 10) / 10)

/** 1, 2 and 5 of each power of ten. */
const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000]

const duration = (ms: number): string => ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`

export const draw = (chart: Chart): string => {
  const { lines, marks } = chart
  const height = above + lines.length * row + below
  const times = lines.flatMap(({ p50, p99 }) => [p50 ?? [], p99 ?? []].flat())
  const lowest = steps.findLast((step) => step <= Math.min(...times)) ?? steps[0]!
  const highest = steps.find((step) => step >= Math.max(...times)) ?? steps.at(-1)!
  const x = (ms: number) =>
    latencies.left +
    (latencies.right - latencies.left) * Math.log(ms / lowest) / Math.log(Math.max(highest / lowest, 2))
  const within = steps.filter((step) => step >= lowest && step <= highest)
  // As many as have room: with the powers of ten, the ends tell most.
  const ticks = within.length <= 6
    ? within
    : within.filter((step, at) => String(step).startsWith("1") || at === 0 || at === within.length - 1)

  const out: Array<string> = []
  const line = (kind: string, x1: number, y1: number, x2: number, y2: number) =>
    out.push(`<line class="${kind}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"/>`)
  const text = (kind: string, anchor: "start" | "middle" | "end", at: number, y: number, content: string) =>
    out.push(`<text class="${kind}" text-anchor="${anchor}" x="${round(at)}" y="${round(y)}">${escape(content)}</text>`)

  text("title", "start", names.left, 34, chart.title)
  const bottom = above + lines.length * row
  text("small", "start", latencies.left, 62, "latency: ● p50   ● p95   ○ p99")
  text("small", "start", series.left, 62, chart.seriesTitle)
  text("small", "end", figures.right, 62, chart.figureTitle)
  for (const tick of ticks) {
    line("grid", x(tick), above - 6, x(tick), bottom)
    text("small", "middle", x(tick), bottom + 18, duration(tick))
  }

  const longest = Math.max(...lines.map((each) => each.series.length))
  const xOf = (second: number) => series.left + (series.right - series.left) * second / Math.max(longest, 1)
  for (const mark of marks) line("mark", xOf(mark), above - 6, xOf(mark), bottom)
  text("small", "start", series.left, bottom + 18, "0 s")
  text("small", "end", series.right, bottom + 18, `${longest} s`)
  text("small", "middle", (series.left + series.right) / 2, bottom + 18, chart.topLabel)

  for (const [index, each] of lines.entries()) {
    const y = above + index * row
    const middle = y + row / 2
    out.push(`<g class="${each.marked ? "marked" : "plain"}">`)
    line("grid", names.left, y + row, figures.right, y + row)
    text(each.marked ? "strong" : "", "start", names.left, middle + 4.5, each.name)
    if (each.p50 !== undefined && each.p95 !== undefined && each.p99 !== undefined) {
      line("range", x(each.p50), middle, x(each.p99), middle)
      out.push(`<circle class="hollow" cx="${round(x(each.p99))}" cy="${middle}" r="4"/>`)
      out.push(`<circle class="dot" cx="${round(x(each.p95))}" cy="${middle}" r="5"/>`)
      out.push(`<circle class="dot" cx="${round(x(each.p50))}" cy="${middle}" r="3.5"/>`)
    }
    const floor = y + row - 3
    const tall = row - 8
    const points = each.series.flatMap((value, second) => {
      const top = round(floor - tall * Math.min(value / chart.top, 1))
      return [`${round(xOf(second))},${top}`, `${round(xOf(second + 1))},${top}`]
    })
    out.push(
      `<polygon class="area" points="${[`${series.left},${floor}`, ...points, `${series.right},${floor}`].join(" ")}"/>`
    )
    text(each.marked ? "strong" : "", "end", figures.right, middle + 4.5, each.figure)
    out.push("</g>")
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${
      escape(chart.title).replaceAll("\"", "&quot;")
    }">`,
    `<style>${style}\n</style>`,
    `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10"/>`,
    ...out,
    "</svg>\n"
  ].join("\n")
}
