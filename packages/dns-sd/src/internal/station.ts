/**
 * Runs a party: opens a socket for each link, follows links that come and go, and keeps the time.
 *
 * **Mental model**: one loop for whatever happens. It looks for links, hands over what was heard, does what is due, sends
 * what that answered, and waits for the next of these.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { type Multicast, MulticastError, type Socket } from "./multicast.ts"
import type { Link, Outgoing, Party, Sender } from "./party.ts"
import { decode, encode } from "./wire.ts"

export interface StationOptions {
  readonly multicast: Multicast
  /** Names or addresses of the links to use; none: all. */
  readonly interfaces?: ReadonlyArray<string> | undefined
  /** What is done once what was due is sent. */
  readonly settled: (now: number) => void
}

export interface Station {
  /** Fails when there is no link any more. */
  readonly run: Effect.Effect<never, MulticastError>
  /** Has what is due looked at now. */
  readonly wake: () => void
  /** The time that the party is told. */
  readonly now: () => number
}

/** ms between two looks at which links there are. */
const lookEvery = 1000

/** Datagrams that wait; more of them are lost, as datagrams are. */
const mostWaiting = 1024

/** Makes a station for a party; nothing is opened before it runs. */
export const make = (party: Party, options: StationOptions): Effect.Effect<Station> =>
  Effect.clockWith((clock) =>
    Effect.sync(() => {
      const now = () => Number(clock.monotonicTimeNanosUnsafe() / 1000n) / 1000
      const woken = Latch.makeUnsafe(false)
      return { now, wake: () => void woken.openUnsafe(), run: Effect.scoped(run(party, options, now, woken)) }
    })
  )

interface Heard {
  readonly link: Link
  readonly bytes: Uint8Array
  readonly from: Sender
}

interface Open {
  readonly link: Link
  readonly socket: Socket
  readonly scope: Scope.Closeable
}

const run = Effect.fnUntraced(function*(
  party: Party,
  { interfaces, multicast, settled }: StationOptions,
  now: () => number,
  woken: Latch.Latch
): Effect.fn.Return<never, MulticastError, Scope.Scope> {
  const scope = yield* Effect.scope
  let inbox: Array<Heard> = []
  let open: ReadonlyArray<Open> = []
  let nextLook = 0

  const join = Effect.fnUntraced(function*(link: Link) {
    const its = yield* Scope.fork(scope)
    return yield* multicast.open(link, (bytes, from) => {
      if (inbox.length < mostWaiting) inbox.push({ link, bytes, from })
      woken.openUnsafe()
    }).pipe(
      Scope.provide(its),
      Effect.map((socket): Open => ({ link, socket, scope: its })),
      Effect.onError((cause) => Scope.close(its, Exit.failCause(cause))),
      Effect.result
    )
  })

  const leave = Effect.fnUntraced(function*(gone: ReadonlyArray<Open>) {
    if (gone.length === 0) return
    open = open.filter((one) => !gone.includes(one))
    party.linked(open.map(({ link }) => link), now())
    yield* Effect.forEach(gone, ({ scope }) => Scope.close(scope, Exit.void), { discard: true })
  })

  const look = Effect.gen(function*() {
    const there = yield* multicast.links
    const wanted = there.filter(({ address, name }) =>
      interfaces === undefined || interfaces.includes(name) || interfaces.includes(address)
    )
    yield* leave(open.filter(({ link }) => !wanted.some((one) => isSame(one, link))))
    const joined = yield* Effect.forEach(wanted.filter((link) => !open.some((one) => isSame(one.link, link))), join)
    const added = joined.flatMap((one) => Result.isSuccess(one) ? [one.success] : [])
    if (added.length > 0) {
      open = [...open, ...added]
      party.linked(open.map(({ link }) => link), now())
    }
    const refused = joined.find(Result.isFailure)
    if (open.length === 0) return yield* refused?.failure ?? new MulticastError({ reason: noLink(interfaces, there) })
    if (refused !== undefined) yield* Effect.logDebug(`multicast DNS: ${refused.failure.reason}`)
  })

  const send = Effect.fnUntraced(function*({ link, message, to }: Outgoing) {
    const one = open.find((one) => one.link === link)
    if (one === undefined) return
    const sent = yield* Effect.result(one.socket.send(encode(message), to))
    // One host that can't be reached says nothing of the link.
    if (Result.isSuccess(sent) || to !== undefined) return
    // It is joined again with the next look, if it is still there.
    yield* Effect.logDebug(`multicast DNS: ${sent.failure.reason}`)
    yield* leave([one])
  })

  while (true) {
    if (nextLook <= now()) {
      yield* look
      nextLook = now() + lookEvery
    }
    const heard = inbox
    inbox = []
    for (const { bytes, from, link } of heard) {
      const message = decode(bytes)
      // Whatever else is on this port is none of our business (RFC 6762 section 18).
      if (Result.isSuccess(message)) party.hear(link, message.success, from, now())
    }
    for (const outgoing of party.tick(now())) yield* send(outgoing)
    settled(now())
    const wait = Math.ceil(Math.min(party.due(), nextLook) - now())
    if (wait > 0) yield* Effect.timeoutOption(woken.await, wait)
    // What is heard all the time must not keep others from their turn.
    else yield* Effect.yieldNow
    woken.closeUnsafe()
  }
})

const isSame = (self: Link, that: Link): boolean =>
  self.name === that.name && self.address === that.address && self.network === that.network

const noLink = (interfaces: ReadonlyArray<string> | undefined, there: ReadonlyArray<Link>): string =>
  interfaces === undefined
    ? "no interface with an IPv4 address is up"
    : `none of ${interfaces.join(", ")} is up; there is ${there.map(({ name }) => name).join(", ") || "none"}`
