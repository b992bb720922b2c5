/**
 * What is drawn takes turns: however much changes at once, no frame of the screen takes long, and the page can be used all
 * the time.
 */
import { flushSync } from "svelte"

interface Turn {
  readonly work: () => unknown
  readonly latest: number
}

const waiting: Array<Turn> = []
let frame: number | undefined

const run = (): void => {
  frame = undefined
  const begun = performance.now()
  do {
    const turn = waiting.shift()
    if (turn?.work() === true) waiting.unshift(turn)
    flushSync()
  } while (waiting[0] !== undefined && performance.now() - begun < waiting[0].latest)
  if (waiting.length > 0) frame ??= requestAnimationFrame(run)
}

/** `latest` of what a page is filled with: nobody uses it yet. */
export const first = 16

/**
 * Does it in one of the next frames of the screen, after what was asked for before; again while it answers `true`.
 *
 * @param latest ms of script after which it isn't begun any more in a frame, but in the next one
 */
export const inTurn = (work: () => unknown, latest = 1): void => {
  waiting.push({ work, latest })
  frame ??= requestAnimationFrame(run)
}
