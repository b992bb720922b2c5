/**
 * The port that is listened on: with or without TLS, and exchanged for another while requests go on.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Http from "node:http"
import * as Https from "node:https"
import { Server as NetServer } from "node:net"
import { ListenError } from "../ListenError.ts"
import * as Tls from "./tls.ts"

type Handler = (request: Http.IncomingMessage, response: Http.ServerResponse) => void
type Server = Http.Server | Https.Server

/** Where to listen, and how. */
export interface Address {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly tls: Tls.TlsFiles | undefined
}

export interface Listener {
  readonly bound: () => { readonly host: string; readonly port: number; readonly secure: boolean }
  /** Listens elsewhere. Those who are connected are served on, and told to connect anew. Failed, nothing has changed. */
  readonly move: (address: Address) => Effect.Effect<void, ListenError>
}

interface Bound {
  readonly address: Address
  readonly port: number
  readonly server: Server
  readonly certificates: Tls.Certificates | undefined
}

// Who can't send its head within this time holds a connection for nothing.
const headTimeout = 10_000
const serverOptions = {
  headersTimeout: headTimeout,
  requestTimeout: 60_000,
  connectionsCheckingInterval: 5000,
  // Longer than proxies and agents keep theirs, so that we are not the side that closes under a request.
  keepAliveTimeout: 65_000
}
const certificateInterval = "2 seconds"

const serverOf = (handler: Handler, certificates: Tls.Certificates | undefined): Server =>
  certificates === undefined
    ? Http.createServer(serverOptions, handler)
    : Https.createServer({
      ...serverOptions,
      ...certificates.options,
      handshakeTimeout: headTimeout,
      requestCert: certificates.options.ca !== undefined
    }, handler)

const listen = (server: Server, host: string, port: number): Effect.Effect<number, ListenError> =>
  Effect.callback((resume) => {
    const onError = (error: NodeJS.ErrnoException) =>
      resume(Effect.fail(new ListenError({ host, port, code: error.code ?? error.message })))
    server.once("error", onError)
    server.listen(port, host, () => {
      server.off("error", onError)
      const address = server.address()
      resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : port))
    })
  })

/** Takes no further connections. Node's own `close` of an HTTP server would cut the idle ones under a next request. */
const stopListening = (server: Server): void => void NetServer.prototype.close.call(server)

const closeNow = (server: Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    // It may have stopped to listen before: then it is no error that it does so again.
    server.close(() => resume(Effect.void))
    server.closeIdleConnections()
    // What is still open now had its time.
    const rest = setTimeout(() => server.closeAllConnections(), 250)
    server.once("close", () => clearTimeout(rest))
  })

/** Listens until the scope closes; `drain` comes before the end of the connections. */
export const make = (
  first: Address,
  handler: Handler,
  drain: Effect.Effect<void>
): Effect.Effect<Listener, ListenError, Scope.Scope> =>
  Effect.gen(function*() {
    const lock = yield* Semaphore.make(1)
    /** Those that no longer listen, but still have connections. */
    const retired = new Set<Server>()

    const certificatesOf = ({ host, port, tls }: Address): Effect.Effect<Tls.Certificates | undefined, ListenError> =>
      tls === undefined
        ? Effect.succeed(undefined)
        : Tls.read(tls).pipe(
          Effect.tap((certificates) => Tls.verify(tls, certificates)),
          Effect.mapError((reason) => new ListenError({ host, port, code: "TLS", reason }))
        )

    const open = (
      address: Address,
      port: number,
      certificates: Tls.Certificates | undefined
    ): Effect.Effect<Bound, ListenError> =>
      Effect.suspend(() => {
        const server: Server = serverOf((request, response) => {
          if (retired.has(server)) response.shouldKeepAlive = false
          handler(request, response)
        }, certificates)
        return Effect.map(listen(server, address.host, port), (port) => ({ address, port, server, certificates }))
      })

    let current: Bound = yield* Effect.acquireRelease(
      Effect.flatMap(certificatesOf(first), (certificates) => open(first, first.port, certificates)),
      () =>
        Effect.andThen(
          drain,
          Effect.suspend(() =>
            Effect.forEach([current.server, ...retired], closeNow, { concurrency: "unbounded", discard: true })
          )
        )
    )

    const retire = (server: Server): void => {
      retired.add(server)
      server.once("close", () => {
        retired.delete(server)
        // Ends its timers.
        server.close(() => {})
      })
      stopListening(server)
    }

    const reopen = ({ address, port, server }: Bound): Effect.Effect<void> =>
      Effect.suspend(() => {
        retired.delete(server)
        return listen(server, address.host, port)
      }).pipe(
        Effect.asVoid,
        Effect.catch((error) => Effect.logError(`nothing is listened on any more: ${error.message}`))
      )

    const move = (address: Address): Effect.Effect<void, ListenError> =>
      Effect.gen(function*() {
        const certificates = yield* certificatesOf(address)
        const old = current
        const port = address.port === old.address.port ? old.port : address.port
        const samePlace = address.host === old.address.host && port === old.port
        const sameKind = (certificates === undefined) === (old.certificates === undefined) &&
          (certificates?.options.ca === undefined) === (old.certificates?.options.ca === undefined)
        if (samePlace && sameKind) {
          if (certificates !== undefined && old.server instanceof Https.Server) {
            old.server.setSecureContext(certificates.options)
          }
          current = { ...old, address, certificates }
          return
        }
        if (port !== old.port) {
          current = yield* open(address, port, certificates)
          return retire(old.server)
        }
        // The same port can't be had twice, so for a moment it isn't had at all.
        retire(old.server)
        current = yield* open(address, port, certificates).pipe(Effect.tapError(() => reopen(old)))
      }).pipe(Effect.uninterruptible, lock.withPermits(1))

    /** What was in the files when they were last looked at. */
    let seen: string | undefined
    let complaint: string | undefined
    const renew = Effect.suspend(() => {
      const { address: { tls }, certificates, server } = current
      if (tls === undefined || !(server instanceof Https.Server)) return Effect.void
      return Effect.gen(function*() {
        const found = yield* Tls.read(tls)
        if (found.content === seen) return
        seen = found.content
        complaint = undefined
        if (found.content === certificates?.content) return
        // A pair of which only one half was written yet doesn't pass; the other half makes it another content.
        yield* Tls.verify(tls, found)
        server.setSecureContext(found.options)
        current = { ...current, certificates: found }
        yield* Effect.logInfo(`new certificate taken from ${tls.cert}`)
      }).pipe(Effect.catch((reason) => {
        // Once, and not every time that the files are looked at.
        if (reason === complaint) return Effect.void
        complaint = reason
        return Effect.logWarning(`the new certificate is not taken: ${reason}`)
      }))
    })
    yield* renew.pipe(lock.withPermits(1), Effect.repeat(Schedule.spaced(certificateInterval)), Effect.forkScoped)

    return {
      bound: () => ({ host: current.address.host, port: current.port, secure: current.certificates !== undefined }),
      move
    }
  })
