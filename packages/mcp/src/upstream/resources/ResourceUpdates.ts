/**
 * Notices that a resource changed: whom they concern, and how many of them are of use.
 *
 * **Details**: a notice says that a resource is to be read again, so the last of many says as much as all of them. A burst
 * is passed on as it comes; of a flood each resource is told of a few times a second.
 *
 * @since 0.2.0
 */
import type { Fields } from "../../JsonRpc.ts"

/** Notices about one followed resource that pass within a window as they come. */
const Burst = 16
/** Different resources below the followed one of which a window keeps the last notice. */
const MaxHeld = 64
/** Looks for what encloses a resource. */
const MaxLooks = 64

/**
 * Length of a window, ms.
 *
 * @category constants
 * @since 0.2.0
 */
export const Window = 100

/**
 * Passes the notices about one followed resource on: a burst at once, and of what comes beyond it the last about each
 * resource when the window ends. `later` calls back at the end of a window. Plain.
 *
 * @category constructors
 * @since 0.2.0
 */
export const throttle = (
  uri: string,
  pass: (params: Fields) => void,
  later: (end: () => void) => void
): (params: Fields) => void => {
  let open = false
  let passed = 0
  let held = new Map<string, Fields>()

  const begin = (already: number): void => {
    open = true
    passed = already
    later(end)
  }
  const end = (): void => {
    open = false
    if (held.size === 0) return
    const last = held
    held = new Map()
    // What went on for a whole window is no burst any more.
    begin(Burst)
    for (const params of last.values()) pass(params)
  }
  return (params) => {
    if (!open) begin(0)
    if (passed < Burst) {
      passed++
      return pass(params)
    }
    const about = String(params["uri"])
    held.delete(about)
    held.set(about, params)
    // So much changes below it that it is to be read again itself.
    if (held.size > MaxHeld) held = new Map([[uri, { uri }]])
  }
}

/**
 * Gives a resource and what it may be a part of, the nearest first: servers may tell of a part of what is followed.
 *
 * @category combinators
 * @since 0.2.0
 */
export function* enclosing(uri: string): Generator<string> {
  yield uri
  let rest = uri
  for (let looks = 0; looks < MaxLooks; looks++) {
    const at = Math.max(rest.lastIndexOf("/"), rest.lastIndexOf("?"), rest.lastIndexOf("#"))
    if (at <= 0) return
    if (at < rest.length - 1) yield rest.slice(0, at + 1)
    yield rest = rest.slice(0, at)
  }
}
