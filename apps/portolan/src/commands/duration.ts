import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** A duration as a person wrote it, and as a value. */
export interface WrittenDuration {
  readonly text: string
  readonly duration: Duration.Duration
}

const scales: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const parse = (text: string): WrittenDuration | undefined => {
  const [, amount = "", unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  const scale = scales[unit]
  return scale === undefined ? undefined : { text, duration: Duration.millis(Number(amount) * scale) }
}

/** A flag that takes a duration as the configuration writes it: `250ms`, `30s`, `5m`. */
export const durationFlag = (name: string, description: string) =>
  Flag.String(name).pipe(
    Flag.filterMap(
      (text) => Option.fromUndefinedOr(parse(text)),
      () => "Expected a duration such as 250ms, 30s or 5m"
    ),
    Flag.withMetavar("duration"),
    Flag.withDescription(description),
    Flag.optional
  )
