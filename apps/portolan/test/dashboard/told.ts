/**
 * When a gateway tells of something, by its event stream.
 */

/** One who listens. */
export interface Listener {
  /** `performance.now()` at the next event of this name that tells of what is looked for. */
  readonly heard: (event: string, about: string) => Promise<number>
}

/** Listens to a gateway from now on, until the signal. */
export const listen = async (url: string, signal: AbortSignal): Promise<Listener> => {
  const response = await fetch(`${url}/api/v1/events?topics=catalog,health,sources`, { signal })
  if (response.body === null) throw new Error("there is no stream")
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const events: Array<{ readonly at: number; readonly text: string }> = []
  let waiting: Array<() => void> = []
  const read = async () => {
    let text = ""
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      text += value
      const parts = text.split("\n\n")
      text = parts.pop() ?? ""
      const at = performance.now()
      // What was so before is in the snapshot, and isn't told of.
      for (const part of parts) if (!/^event: snapshot$/m.test(part)) events.push({ at, text: part })
      for (const wake of waiting.splice(0)) wake()
    }
  }
  read().catch(() => {})
  return {
    heard: async (event, about) => {
      const before = events.length
      for (;;) {
        const found = events.slice(before).find(({ text }) =>
          text.includes(`event: ${event}\n`) && text.includes(about)
        )
        if (found !== undefined) return found.at
        const { promise, resolve } = Promise.withResolvers<void>()
        waiting = [...waiting, resolve]
        await promise
      }
    }
  }
}
