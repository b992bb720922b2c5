/**
 * The worker that the pages of a browser share. Where there are no shared workers it is that of one page, and all pages
 * reach it by a channel of its name.
 */
import { Hub, type Port } from "./hub.ts"
import type { ToPage, ToWorkerFrom } from "./link.ts"
import type { ToWorker } from "./rows.ts"

const hub = new Hub()

const serveChannel = (name: string) => {
  const channel = new BroadcastChannel(name)
  const ports = new Map<string, Port>()
  channel.addEventListener("message", ({ data }: MessageEvent<ToWorkerFrom>) => {
    let port = ports.get(data.from)
    if (port === undefined) {
      port = { postMessage: (message) => channel.postMessage({ to: data.from, message } satisfies ToPage) }
      ports.set(data.from, port)
    }
    if (!hub.hear(port, data.message)) ports.delete(data.from)
  })
  // Pages that are there already say anew who they are.
  channel.postMessage({ to: undefined, message: undefined } satisfies ToPage)
}

if ("onconnect" in globalThis) {
  addEventListener("connect", (event) => {
    const [port] = event instanceof MessageEvent ? event.ports : []
    if (port === undefined) return
    port.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => hub.hear(port, data))
    // Browsers that know it tell so when a page is gone.
    port.addEventListener("close", () => hub.hear(port, { type: "close" }))
    port.start()
  })
} else serveChannel(self.name)
