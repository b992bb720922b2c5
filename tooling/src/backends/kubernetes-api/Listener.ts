/**
 * An HTTP server on one port that can be stopped, started and cut.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import * as Https from "node:https"
import type * as Net from "node:net"

/**
 * The server. It listens once it is started.
 *
 * @category models
 * @since 0.2.0
 */
export interface Listener {
  readonly start: Effect.Effect<void>
  /** Closes every connection. */
  readonly stop: Effect.Effect<void>
  /** Resets every connection. */
  readonly cut: Effect.Effect<void>
}

/**
 * What TLS needs, as PEM texts; clients may show certificates of the authority.
 *
 * @category models
 * @since 0.2.0
 */
export interface Tls {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/**
 * Makes a server that doesn't listen yet.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  at: { readonly host: string; readonly port: number },
  tls: Tls | undefined,
  handle: Http.RequestListener
): Listener => {
  const server = tls === undefined
    ? Http.createServer(handle)
    : Https.createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, handle)
  // Longer than clients keep theirs: a request never meets a connection that is just being closed.
  server.keepAliveTimeout = 120_000
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket: Net.Socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  return {
    start: Effect.callback<void>((resume) => {
      if (server.listening) return resume(Effect.void)
      const failed = (cause: Error) => resume(Effect.die(cause))
      server.once("error", failed).listen(at.port, at.host, () => {
        server.off("error", failed)
        resume(Effect.void)
      })
    }),
    stop: Effect.callback<void>((resume) => {
      if (!server.listening) return resume(Effect.void)
      server.close(() => resume(Effect.void))
      for (const socket of sockets) socket.destroy()
    }),
    cut: Effect.sync(() => {
      for (const socket of sockets) socket.resetAndDestroy()
    })
  }
}

/**
 * Reads a body of at most this many bytes; `undefined` where it is longer or the client is gone.
 *
 * @category accessors
 * @since 0.2.0
 */
export const bodyOf = (request: Http.IncomingMessage, most: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    const chunks: Array<Buffer> = []
    let bytes = 0
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= most) chunks.push(chunk)
    })
    request.on("end", () => resolve(bytes <= most ? Buffer.concat(chunks).toString("utf8") : undefined))
    request.on("error", () => resolve(undefined))
  })
