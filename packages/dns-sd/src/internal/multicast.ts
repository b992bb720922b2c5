/**
 * The sockets of multicast DNS: one for each link, all on the same port.
 *
 * **Gotchas**: a socket hears what any program of this machine has joined on any link. What comes from an address that is
 * not of its own link is dropped, which RFC 6762 section 11 asks for anyway. The port is shared with the system's own
 * daemon, so answers sent to us alone might go to that one: we never ask for them.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Dgram from "node:dgram"
import { BlockList } from "node:net"
import * as Os from "node:os"
import type { Link, Sender } from "./party.ts"

/** Why a link can't be used, in one line. */
export class MulticastError extends Data.TaggedError("MulticastError")<{ readonly reason: string }> {
  override get message(): string {
    return this.reason
  }
}

export interface Socket {
  /** Sends to the group, or to one host. */
  readonly send: (bytes: Uint8Array, to?: Sender) => Effect.Effect<void, MulticastError>
}

/** What carries datagrams. */
export interface Multicast {
  /** Links that are up now. */
  readonly links: Effect.Effect<ReadonlyArray<Link>>
  /** Joins the group on a link until the scope closes. */
  readonly open: (
    link: Link,
    heard: (bytes: Uint8Array, from: Sender) => void
  ) => Effect.Effect<Socket, MulticastError, Scope.Scope>
}

/** RFC 6762 section 3. */
const group = "224.0.0.251"

/** Joins by the system's sockets, on this UDP port. */
export const make = (port: number): Multicast => ({
  links: Effect.sync(() =>
    Object.entries(Os.networkInterfaces()).flatMap(([name, addresses = []]) =>
      addresses.flatMap(({ address, cidr, family, internal }) =>
        family === "IPv4" && cidr !== null ? [{ name, address, network: cidr, isLoopback: internal }] : []
      )
    )
  ),
  open: Effect.fnUntraced(function*(link, heard) {
    const failed = (cause: unknown) => new MulticastError({ reason: `${link.name}: ${tell(cause, port)}` })
    const neighbours = new BlockList()
    neighbours.addSubnet(link.address, Number(link.network.split("/")[1]), "ipv4")

    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => Dgram.createSocket({ type: "udp4", reuseAddr: true })),
      (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
    )
    // Whatever goes wrong later is told to who sends.
    socket.on("error", () => {})
    socket.on("message", (bytes, from) => {
      if (neighbours.check(from.address)) heard(bytes, from)
    })
    yield* Effect.callback<void, MulticastError>((resume) => {
      const refused = (cause: Error) => resume(Effect.fail(failed(cause)))
      socket.once("error", refused)
      // Bound to the group, it takes no answers from the system's daemon that were sent to that one alone.
      const address = process.platform === "win32" ? undefined : group
      socket.bind({ port, address }, () => resume(Effect.sync(() => socket.off("error", refused))))
    })
    yield* Effect.try({
      try: () => {
        socket.addMembership(group, link.address)
        socket.setMulticastInterface(link.address)
        socket.setMulticastTTL(255)
        socket.unref()
      },
      catch: failed
    })
    return {
      send: (bytes, to = { address: group, port }) =>
        Effect.callback<void, MulticastError>((resume) => {
          socket.send(bytes, to.port, to.address, (cause) => resume(cause ? Effect.fail(failed(cause)) : Effect.void))
        })
    }
  })
})

const tell = (cause: unknown, port: number): string => {
  if (!(cause instanceof Error)) return String(cause)
  return "code" in cause && cause.code === "EADDRINUSE"
    ? `UDP port ${port} is held by a program that doesn't share it`
    : cause.message
}
