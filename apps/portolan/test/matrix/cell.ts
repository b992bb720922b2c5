/**
 * A client, a server, and the gateway between; and what shows that something passed.
 */
import { assert } from "@effect/vitest"
import type { Peer } from "./clients.ts"
import type { Subject } from "./servers.ts"

export interface Cell {
  readonly peer: Peer
  /** The same client, which can be asked nothing. */
  readonly bare: Peer
  readonly subject: Subject
  readonly url: URL
}

export type Proof = (cell: Cell) => Promise<void>

export type Pairing = `${Peer["era"]} → ${Subject["era"]}`

/** What the protocol has no way for in some pairings: why, and what happens there. */
export interface Impossible {
  readonly reason: string
  readonly instead: Partial<Record<Pairing, Proof>>
}

/** A row of the matrix. */
export interface Feature {
  readonly name: string
  readonly works: Proof
  readonly impossible?: Impossible
}

/** What only two parties of the handshake era have. */
export const handshakeOnly = (reason: string, proof: Proof, more: Impossible["instead"] = {}): Impossible => ({
  reason,
  instead: { "handshake → stateless": proof, "stateless → stateless": proof, "stateless → handshake": proof, ...more }
})

/** What clients of the stateless era have not. */
export const handshakeClients = (reason: string, proof: Proof): Impossible => ({
  reason,
  instead: { "stateless → stateless": proof, "stateless → handshake": proof }
})

/** Waits for it; what it waits for comes within moments, unless the machine is busy. */
export const eventually = async <A>(what: string, get: () => A | undefined | Promise<A | undefined>): Promise<A> => {
  for (const end = performance.now() + 15_000;;) {
    const found = await get()
    if (found !== undefined) return found
    assert.isBelow(performance.now(), end, `no ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export const until = (what: string, holds: () => boolean): Promise<true> =>
  eventually(what, () => holds() ? true : undefined)

/** What should not come had its time. */
export const quiet = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 150))

/** What was added to a list since. */
export const since = <A>(list: ReadonlyArray<A>): () => ReadonlyArray<A> => {
  const start = list.length
  return () => list.slice(start)
}

/** Notices of one method that reach the client from now on. */
export const noticesOf = ({ notices }: Peer, method: string) => {
  const more = since(notices)
  return () => more().filter((each) => each.method === method).map(({ params }) => params)
}

/** What a server says that it saw, from now on. */
export const sawSince = ({ seen }: Subject) => {
  const more = since(seen)
  return (what: string) => more().filter((each) => each.what === what).map(({ about }) => about)
}

/** The code of the error that it fails with. */
export const codeOf = (attempt: Promise<unknown>): Promise<unknown> =>
  attempt.then(
    (result) => assert.fail(`not refused: ${JSON.stringify(result)}`),
    (error: unknown) => typeof error === "object" && error !== null && "code" in error ? error.code : String(error)
  )

let tags = 0

/** A name that nothing else has. */
export const tag = (): string => `tag-${++tags}`
