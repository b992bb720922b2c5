/**
 * A proxy in front of a gateway, as many run one: it serves it under a path of its own, counts the event streams that pass
 * through it, can stop passing anything on or some of it, and can have another clock.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer, request, type Server } from "node:http"

export interface Proxy {
  /** With the path, without a slash at its end. */
  readonly url: string
  /** Event streams that are open now, and how many there ever were. */
  readonly streams: () => { readonly open: number; readonly ever: number }
  /** When the last of them was opened, by `performance.now`. */
  readonly opened: () => number
  /** From now on nothing passes, and no connection ends. */
  readonly freeze: () => void
  /** From now on requests for these get no answer, and those for others are refused. */
  readonly hinder: (paths: { readonly unanswered?: RegExp; readonly refused?: RegExp }) => void
}

export interface ProxyOptions {
  /** Path under which the gateway is served, such as `/tools/portolan`. Default: none. */
  readonly path?: string
  /** Whether it names the gateway's own host to it, as proxies do that aren't told otherwise. */
  readonly rewritesHost?: boolean
  /** ms by which the clock of the gateway seems to be ahead. */
  readonly ahead?: number
}

/** Moves each time in a text. */
const moved = (text: string, ahead: number): string =>
  text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, (time) => new Date(Date.parse(time) + ahead).toISOString())

/** Serves the gateway until the scope closes. */
export const proxy = (
  gateway: string,
  { ahead = 0, path = "", rewritesHost = false }: ProxyOptions = {}
): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly server: Server; readonly proxy: Proxy }>((resume) => {
        let open = 0
        let ever = 0
        let opened = 0
        let frozen = false
        let hindered: Parameters<Proxy["hinder"]>[0] = {}
        const server = createServer((given, response) => {
          if (frozen) return
          const asked = given.url ?? ""
          if (!asked.startsWith(`${path}/`)) return void response.writeHead(404).end()
          if (hindered.unanswered?.test(asked) === true) return
          if (hindered.refused?.test(asked) === true) return void response.writeHead(503).end()
          const headers = { ...given.headers, ...rewritesHost ? { host: new URL(gateway).host } : {} }
          // Times can be moved only in what can be read.
          if (ahead !== 0) headers["accept-encoding"] = "identity"
          const passed = request(
            `${gateway}${asked.slice(path.length)}`,
            { method: given.method ?? "GET", headers },
            (answer) => {
              const { "content-length": _, ...others } = answer.headers
              const kind = others["content-type"] ?? ""
              const moves = ahead !== 0 && /json|event-stream/.test(kind)
              response.writeHead(answer.statusCode ?? 502, moves ? others : answer.headers)
              response.flushHeaders()
              if (kind.startsWith("text/event-stream") && given.method === "GET") {
                open++
                ever++
                opened = performance.now()
                response.once("close", () => open--)
              }
              let rest = ""
              if (moves) answer.setEncoding("utf8")
              answer.on("data", (chunk: Buffer | string) => {
                if (frozen) return
                if (typeof chunk !== "string") return void response.write(chunk)
                // An event is moved whole, and so is an answer.
                const end = kind.includes("json") ? 0 : `${rest}${chunk}`.lastIndexOf("\n") + 1
                rest += chunk
                if (end > 0) response.write(moved(rest.slice(0, end), ahead))
                rest = rest.slice(end)
              })
              answer.on("end", () => frozen || response.end(moved(rest, ahead)))
              answer.on("error", () => response.destroy())
            }
          )
          passed.on("error", () => frozen || response.destroy())
          response.on("close", () => passed.destroy())
          given.pipe(passed)
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resume(Effect.succeed({
            server,
            proxy: {
              url: `http://127.0.0.1:${port}${path}`,
              streams: () => ({ open, ever }),
              opened: () => opened,
              hinder: (paths) => void (hindered = paths),
              freeze: () => void (frozen = true)
            }
          }))
        })
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ),
    ({ proxy }) => proxy
  )
