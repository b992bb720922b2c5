/**
 * A TCP proxy that breaks connections on purpose.
 *
 * **Mental model**: the code under test connects to the proxy instead of the server. Faults are switched on and off by
 * effects; everything closes with the scope.
 *
 * **Gotchas**: bytes that `halfOpen` swallowed are gone, so `restore` resets the connections it was used on. Bytes held
 * by `stall` arrive after `restore`.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"

/**
 * Error raised when the proxy can't listen.
 *
 * @category errors
 * @since 0.1.0
 */
export class FaultProxyError extends Schema.TaggedError<FaultProxyError>()("FaultProxyError", {
  address: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `the proxy can't listen on ${this.address}: ${this.cause instanceof Error ? this.cause.message : this.cause}`
  }
}

/**
 * Which way bytes flow: to the server behind the proxy, or back to the client.
 *
 * @category models
 * @since 0.1.0
 */
export type Direction = "toServer" | "toClient" | "both"

/**
 * Connections counted since the proxy began, and those open now.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connections {
  readonly accepted: number
  readonly open: number
}

/**
 * A running proxy.
 *
 * @category models
 * @since 0.1.0
 */
export interface FaultProxy {
  readonly host: string
  readonly port: number
  /** Resets every open connection (RST). New ones work. */
  readonly cut: Effect.Effect<void>
  /** Stops listening and resets every open connection: clients get ECONNREFUSED until `restore`. */
  readonly refuse: Effect.Effect<void>
  /** Nothing is forwarded any more, on open and on new connections; sockets stay open. */
  readonly stall: Effect.Effect<void>
  /** Open connections swallow what comes in the given direction (default both) and stay open. New ones work. */
  readonly halfOpen: (direction?: Direction) => Effect.Effect<void>
  /** Forwards every chunk this much later, in order. */
  readonly delay: (time: Duration.Input) => Effect.Effect<void>
  /** Ends every fault. */
  readonly restore: Effect.Effect<void, FaultProxyError>
  readonly connections: () => Connections
}

interface Link {
  readonly client: Net.Socket
  readonly server: Net.Socket
  dropped: Direction | undefined
  readonly timers: Set<NodeJS.Timeout>
}

/** Chunks that `delay` holds back in one direction; a sender that is further ahead waits. */
const mostHeld = 256

const drops = (link: Link, direction: Direction) => link.dropped === "both" || link.dropped === direction

/**
 * Starts a proxy on a free port of 127.0.0.1 in front of a server, until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(target: {
  readonly port: number
  /** Where the server is; default 127.0.0.1. */
  readonly host?: string | undefined
}): Effect.fn.Return<FaultProxy, FaultProxyError, Scope.Scope> {
  const host = "127.0.0.1"
  const links = new Set<Link>()
  let server: Net.Server | undefined
  let port = 0
  let accepted = 0
  let stalled = false
  let delayMillis = 0

  const close = (link: Link, reset: boolean) => {
    if (!links.delete(link)) return
    for (const timer of link.timers) clearTimeout(timer)
    for (const socket of [link.client, link.server]) {
      if (reset && !socket.destroyed && !socket.connecting) socket.resetAndDestroy()
      else socket.destroy()
    }
  }

  const pump = (link: Link, from: Net.Socket, to: Net.Socket, direction: Direction) => {
    const held: Array<{ readonly due: number; readonly forward: () => void }> = []
    const forwardDue = () => {
      while (held.length > 0 && held[0]!.due <= performance.now()) held.shift()!.forward()
      if (held.length < mostHeld && !stalled && !to.writableNeedDrain) from.resume()
      if (held.length > 0) arm()
    }
    const arm = () => {
      const timer = setTimeout(() => {
        link.timers.delete(timer)
        forwardDue()
      }, Math.max(held[0]!.due - performance.now(), 0))
      link.timers.add(timer)
    }
    const later = (forward: () => void) => {
      const last = held.at(-1)
      if (last === undefined && delayMillis === 0) return forward()
      // What was held back longer is not overtaken.
      held.push({ due: Math.max(performance.now() + delayMillis, last?.due ?? 0), forward })
      if (last === undefined) arm()
      if (held.length >= mostHeld) from.pause()
    }
    from.on("data", (chunk) => {
      if (drops(link, direction)) return
      // A full receiver stops the sender, as TCP itself would.
      later(() => {
        if (to.destroyed || to.write(chunk)) return
        from.pause()
        to.once("drain", () => {
          if (!stalled) from.resume()
        })
      })
    })
    from.on("end", () => {
      if (!drops(link, direction)) later(() => to.end())
    })
    // How it ended is told by "close".
    from.on("error", () => undefined)
    from.on("close", () => {
      const reset = from.errored !== null
      if (from === link.client || to.destroyed) close(link, reset)
      else if (!drops(link, direction)) later(() => close(link, reset))
    })
  }

  const accept = (client: Net.Socket) => {
    accepted++
    const link: Link = {
      client,
      server: Net.connect({ host: target.host ?? host, port: target.port, allowHalfOpen: true, noDelay: true }),
      dropped: undefined,
      timers: new Set()
    }
    links.add(link)
    client.setNoDelay(true)
    pump(link, client, link.server, "toServer")
    pump(link, link.server, client, "toClient")
    if (stalled) pause(link)
  }

  const pause = (link: Link) => {
    link.client.pause()
    link.server.pause()
  }

  const resume = (link: Link) => {
    link.client.resume()
    link.server.resume()
  }

  const listen = Effect.suspend(() => {
    if (server !== undefined) return Effect.void
    return Effect.callback<void, FaultProxyError>((done) => {
      const listening = Net.createServer({ allowHalfOpen: true }, accept)
      const failed = (cause: Error) => done(Effect.fail(new FaultProxyError({ address: `${host}:${port}`, cause })))
      listening.once("error", failed)
      listening.listen(port, host, () => {
        listening.off("error", failed)
        const address = listening.address()
        if (typeof address === "object" && address !== null) port = address.port
        server = listening
        done(Effect.void)
      })
    })
  })

  const cut = Effect.sync(() => {
    for (const link of Array.from(links)) close(link, true)
  })

  const refuse = Effect.suspend(() => {
    const listening = server
    server = undefined
    return Effect.callback<void>((done) => {
      // Stop accepting first: a client that reconnects at once must not slip in between.
      if (listening === undefined) done(Effect.void)
      else listening.close(() => done(Effect.void))
      for (const link of Array.from(links)) close(link, true)
    })
  })

  yield* Effect.acquireRelease(listen, () => refuse)

  return {
    host,
    port,
    cut,
    refuse,
    stall: Effect.sync(() => {
      stalled = true
      links.forEach(pause)
    }),
    halfOpen: (direction = "both") =>
      Effect.sync(() => {
        for (const link of links) link.dropped = direction
      }),
    delay: (time) =>
      Effect.sync(() => {
        delayMillis = Duration.toMillis(time)
      }),
    restore: Effect.suspend(() => {
      stalled = false
      delayMillis = 0
      for (const link of Array.from(links)) {
        if (link.dropped === undefined) resume(link)
        else close(link, true)
      }
      return listen
    }),
    connections: () => ({ accepted, open: links.size })
  }
})
