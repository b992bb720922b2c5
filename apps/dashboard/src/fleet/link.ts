/**
 * A page's way to the worker: a shared one, so that a browser holds one stream of events however many pages it shows (it
 * has six connections to a gateway, and the seventh page would hang).
 *
 * **Details**: where there are no shared workers, the page that holds a lock runs the worker, and all reach it by a
 * channel; when that page goes, the lock does, and the next one runs it. Without locks each page runs its own. A worker
 * that says nothing any more is left for another one, by all pages.
 */
import { keep, kept } from "../shell/kept.ts"
import type { FromWorker, ToWorker } from "./rows.ts"

/** On the channel: what a page says, and what the worker says to one page; to none: it has just begun. */
export interface ToWorkerFrom {
  readonly from: string
  readonly message: ToWorker
}
export type ToPage =
  | { readonly to: string; readonly message: FromWorker }
  | { readonly to: undefined; readonly message: undefined }

export interface Link {
  readonly send: (message: ToWorker) => void
  /** Goes over to another worker. */
  readonly renew: () => void
}

/** What a page does with its link. */
interface Linked {
  readonly hear: (message: FromWorker) => void
  /** There is a worker to open. */
  readonly begun: (link: Link) => void
  /** The worker can't be begun. */
  readonly failed: () => void
}

export const link = (page: Linked): void => {
  if (typeof SharedWorker === "undefined") channelLink(page)
  else sharedLink(page)
}

const sharedLink = ({ begun, failed, hear }: Linked): void => {
  // One that hangs would be found again by its name: which one it is counts all pages of this browser.
  let number = kept("worker") ?? "0"
  let port: MessagePort | undefined
  let broken = false
  const run = () => {
    broken = false
    port?.postMessage({ type: "close" } satisfies ToWorker)
    port?.close()
    const name = `portolan ${number}`
    const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), { type: "module", name })
    const own = port = worker.port
    worker.addEventListener("error", () => {
      if (port !== own) return
      broken = true
      failed()
    })
    own.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => port === own && hear(data))
    own.start()
    begun(self)
  }
  const self: Link = {
    send: (message) => port?.postMessage(message),
    renew: () => {
      const now = kept("worker") ?? number
      // Another page may have gone over already. One that never ran isn't found again.
      if (now !== number) number = now
      else if (!broken) number = String(Number(number) + 1)
      keep("worker", number)
      run()
    }
  }
  addEventListener("storage", () => {
    const now = kept("worker") ?? number
    if (now === number) return
    number = now
    run()
  })
  run()
}

const channelLink = ({ begun, hear }: Linked): void => {
  // Not `crypto.randomUUID`, which pages without TLS don't have.
  const from = Math.random().toString(36).slice(2)
  const shared = "locks" in navigator
  const name = `portolan ${new URL(".", document.baseURI).href}${shared ? "" : ` ${from}`}`
  const channel = new BroadcastChannel(name)
  let own: Worker | undefined
  const run = () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name })
  // Whoever takes the lock from another one runs the worker in its place, and that one waits for it anew.
  const lead = (steal: boolean): void => {
    let worker: Worker | undefined
    navigator.locks.request(name, { steal }, () => {
      worker = run()
      return new Promise(() => {})
    }).catch(() => {
      if (worker === undefined) return
      worker.terminate()
      lead(false)
    })
  }
  const self: Link = {
    send: (message) => channel.postMessage({ from, message } satisfies ToWorkerFrom),
    renew: () => {
      if (shared) return lead(true)
      own?.terminate()
      own = run()
    }
  }
  channel.addEventListener("message", ({ data }: MessageEvent<ToPage>) => {
    if (data.to === from) hear(data.message)
    else if (data.to === undefined && data.message === undefined) begun(self)
  })
  if (shared) lead(false)
  else own = run()
  // Where another page runs it already.
  begun(self)
}
