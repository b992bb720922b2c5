const signals = ["SIGTERM", "SIGINT"] as const

type Close = () => Promise<void>

const open = new Set<Close>()

const onSignal = (signal: NodeJS.Signals) => {
  // Ours is the first to run, and handlers for one signal alone take themselves away only later.
  const handled = process.listenerCount(signal) > 1
  void closeAll().finally(() => handled || process.kill(process.pid, signal))
}

/** The second signal finds no handler of ours: it does what it does to a process that has none. */
const closeAll = async () => {
  unlisten()
  // What is closed sleeps on timers that don't keep the process alive.
  const alive = setInterval(() => {}, 1_000_000)
  await Promise.allSettled(Array.from(open, (close) => close()))
  clearInterval(alive)
}

const listen = () => {
  for (const signal of signals) process.prependListener(signal, onSignal)
  process.on("beforeExit", closeAll)
}

const unlisten = () => {
  for (const signal of signals) process.off(signal, onSignal)
  process.off("beforeExit", closeAll)
}

/**
 * Has `close` called when the process is asked to end, or has nothing more to do; answers what takes that back. The
 * process then ends as it would have without: by the program's own handlers where it has some, else by the signal.
 *
 * @internal
 */
export const onShutdown = (close: Close): () => void => {
  if (open.size === 0) listen()
  open.add(close)
  return () => {
    if (open.delete(close) && open.size === 0) unlisten()
  }
}
