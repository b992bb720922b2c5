/**
 * What a screen reader is told by itself: how the fleet is, when that changes, and at most once each 12 s.
 */

/** Says a text unless it is what was said last; those that come too soon wait, and only the last of them is said. */
export const speaker = (say: (text: string) => void, pause = 12_000) => {
  let last: string | undefined
  let next: string | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const speak = () => {
    timer = undefined
    if (next === undefined || next === last) return
    last = next
    say(next)
    timer = setTimeout(speak, pause)
  }
  return {
    tell(text: string): void {
      next = text
      // What holds when the page opens is on the page.
      if (last === undefined) last = text
      else if (timer === undefined) speak()
    },
    end: (): void => clearTimeout(timer)
  }
}
