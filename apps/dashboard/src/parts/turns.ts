/**
 * What is drawn takes turns: however much changes at once, no frame of the screen takes long, and the page can be used all
 * the time.
 */
import { flushSync } from "svelte"

/** ms of script after which no more is begun in a frame of the screen. */
const budget = 2
/** The same for what a page is filled with: nobody uses it yet. */
export const first = 16
/** The same for what has waited for long, and how long that is, ms: a page that can't keep up shows less smoothly what is, instead of what was. */
const late = { after: 1_000, budget: 3 }

interface Turn {
  readonly work: () => unknown
  readonly latest: number
  readonly since: number
}

const waiting: Array<Turn> = []
let frame: number | undefined

const hasTime = ({ latest, since }: Turn, begun: number): boolean => {
  const now = performance.now()
  return now - begun < (now - since > late.after ? Math.max(latest, late.budget) : latest)
}

const run = (): void => {
  frame = undefined
  const begun = performance.now()
  do {
    const turn = waiting.shift()
    if (turn?.work() === true) waiting.unshift(turn)
    flushSync()
  } while (waiting[0] !== undefined && hasTime(waiting[0], begun))
  if (waiting.length > 0) frame ??= requestAnimationFrame(run)
}

/**
 * Does it in one of the next frames of the screen, after what was asked for before; again while it answers `true`.
 *
 * @param latest ms of script in a frame after which it isn't begun any more, but in the next one
 */
export const inTurn = (work: () => unknown, latest = budget): void => {
  waiting.push({ work, latest, since: performance.now() })
  frame ??= requestAnimationFrame(run)
}
