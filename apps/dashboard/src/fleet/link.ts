/**
 * A page's way to the worker: a shared one, so that a browser holds one stream of events however many pages it shows (it
 * has six connections to a gateway, and the seventh page would hang).
 *
 * **Details**: where there are no shared workers, the page that holds a lock runs the worker, and all reach it by a
 * channel; when that page goes, the lock does, and the next one runs it. Without locks each page runs its own.
 */
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
}

/** `hear` takes what the worker says; `begun` is called when there is a worker to open. */
export const link = (hear: (message: FromWorker) => void, begun: (link: Link) => void): void => {
  if (typeof SharedWorker === "undefined") return channelLink(hear, begun)
  const { port } = new SharedWorker(new URL("./worker.ts", import.meta.url), { type: "module", name: "portolan" })
  port.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => hear(data))
  port.start()
  begun({ send: (message) => port.postMessage(message) })
}

const channelLink = (hear: (message: FromWorker) => void, begun: (link: Link) => void): void => {
  // Not `crypto.randomUUID`, which pages without TLS don't have.
  const from = Math.random().toString(36).slice(2)
  const shared = "locks" in navigator
  const name = `portolan ${new URL(".", document.baseURI).href}${shared ? "" : ` ${from}`}`
  const channel = new BroadcastChannel(name)
  const self: Link = { send: (message) => channel.postMessage({ from, message } satisfies ToWorkerFrom) }
  channel.addEventListener("message", ({ data }: MessageEvent<ToPage>) => {
    if (data.to === from) hear(data.message)
    else if (data.to === undefined && data.message === undefined) begun(self)
  })
  const run = () => void new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name })
  if (shared) {
    void navigator.locks.request(name, () => {
      run()
      return new Promise(() => {})
    })
  } else run()
  // Where another page runs it already.
  begun(self)
}
