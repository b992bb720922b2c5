/**
 * How figures, times and ages are written: one way for all pages. What isn't known, and what has no traffic, is a dash.
 */

export const none = "–"

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 })

const isKnown = (value: number | undefined): value is number => value !== undefined && Math.abs(value) < 1e15

/** `1,177` */
export const count = (value: number | undefined): string => {
  if (!isKnown(value)) return none
  // As it is written in any case, and most are such: a format costs a hundred times as much.
  return Number.isInteger(value) && value >= 0 && value < 1000 ? String(value) : whole.format(value)
}

/** What is the same for figures of the same width: all digits are as wide as each other. */
export const widthOf = (text: string): string => text.replaceAll(/\d/g, "0")

/** Of something a second: `438`, `96.4`, `<0.1`; nothing at all is a dash. */
export const rate = (value: number | undefined): string =>
  !isKnown(value) || value <= 0
    ? none
    : value < 0.05
    ? "<0.1"
    : value < 99.95
    ? tenth.format(value)
    : whole.format(value)

/** A part of one: `0 %`, `<0.1 %`, `0.6 %`, `41 %`. What isn't all isn't rounded to all. */
export const share = (value: number | undefined): string => {
  if (!isKnown(value)) return none
  const percent = Math.max(0, value) * 100
  if (percent === 0) return "0 %"
  if (percent < 0.05) return "<0.1 %"
  if (percent < 9.95) return `${tenth.format(percent)} %`
  if (percent < 100 && percent >= 99.5) return `${tenth.format(Math.min(99.9, percent))} %`
  return `${whole.format(percent)} %`
}

/** A latency in its unit, apart, so that the unit can be set smaller; `text` is both. */
export interface Latency {
  readonly value: string
  /** Empty where nothing is known. */
  readonly unit: string
  readonly text: string
}

const latency = (value: string, unit: string): Latency => ({ value, unit, text: `${value} ${unit}` })

/** `0.6 ms`, `61 ms`, `1.4 s`, `12 s`, `3 min` */
export const ms = (value: number | undefined): Latency => {
  if (!isKnown(value) || value < 0) return { value: none, unit: "", text: none }
  if (value === 0) return latency("0", "ms")
  if (value < 0.05) return latency("<0.1", "ms")
  if (value < 9.95) return latency(tenth.format(value), "ms")
  if (value < 999.5) return latency(whole.format(value), "ms")
  if (value < 9_950) return latency(tenth.format(value / 1000), "s")
  if (value < 119_500) return latency(whole.format(value / 1000), "s")
  return latency(whole.format(value / 60_000), "min")
}

/** How long something is ago or lasts, as short as it can be told: `0.4 s`, `41 s`, `2 m`, `3 h`, `5 d`. Never negative. */
export const age = (value: number | undefined): string => {
  if (!isKnown(value)) return none
  const seconds = Math.max(0, value) / 1000
  if (seconds < 9.95) return `${tenth.format(seconds)} s`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${whole.format(Math.floor(seconds / 86_400))} d`
}

// The clock of whoever reads, at 24 hours, so that times of one page can be compared at a glance.
const clockOf = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" })
const dateOf = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit"
})

// What never was has no time: the year 1970 says nothing.
const isTime = (at: number | undefined): at is number => isKnown(at) && at > 0

/** `03:31:07` */
export const clock = (at: number | undefined): string => isTime(at) ? clockOf.format(at) : none

/** `21 Nov 2026, 03:31:07` */
export const date = (at: number | undefined): string => isTime(at) ? dateOf.format(at) : none

/** For the `datetime` of a `<time>`. */
export const iso = (at: number | undefined): string | undefined => isTime(at) ? new Date(at).toISOString() : undefined

/** `1 instance`, `2 instances` */
export const counted = (value: number, one: string, many: string = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`
