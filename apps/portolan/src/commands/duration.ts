import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { isDuration, millisOf } from "../duration.ts"

/** A duration as a person wrote it, and as a value. */
export interface WrittenDuration {
  readonly text: string
  readonly duration: Duration.Duration
}

const parse = (text: string): WrittenDuration | undefined =>
  isDuration(text) ? { text, duration: Duration.millis(millisOf(text)) } : undefined

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
