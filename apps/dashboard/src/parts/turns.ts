/**
 * What is drawn takes turns: however much changes at once, no frame of the screen takes long, and the page can be used all
 * the time.
 */
import { flushSync } from "svelte"

/** What script may take of a frame of the screen before the rest waits for the next one, ms. */
const budget = 4

const waiting: Array<() => void> = []
let frame: number | undefined

const run = (): void => {
  frame = undefined
  const end = performance.now() + budget
  do {
    waiting.shift()?.()
    flushSync()
  } while (waiting.length > 0 && performance.now() < end)
  if (waiting.length > 0) frame ??= requestAnimationFrame(run)
}

/** Does it in one of the next frames of the screen, after what was asked for before. */
export const inTurn = (work: () => void): void => {
  waiting.push(work)
  frame ??= requestAnimationFrame(run)
}
