/**
 * Every pairing of eras with the official clients and servers of both generations, through a running gateway.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import type { Pairing } from "./matrix/cell.ts"
import { clients, open } from "./matrix/clients.ts"
import { features } from "./matrix/features.ts"
import { fleet, subjects } from "./matrix/servers.ts"

const pairings: ReadonlyArray<Pairing> = [
  "handshake → handshake",
  "handshake → stateless",
  "stateless → stateless",
  "stateless → handshake"
]

describe("the matrix", () => {
  const scope = Scope.makeUnsafe()
  let running: Effect.Success<typeof fleet>
  beforeAll(async () => {
    running = await Effect.runPromise(Scope.provide(fleet, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  for (const { connect, era, name } of clients) {
    describe(`a client of ${name}`, () => {
      let peers: Awaited<ReturnType<typeof open>>
      beforeAll(async () => {
        peers = await open(connect, running.url)
        assert.strictEqual(peers.peer.era, era)
      })
      afterAll(async () => {
        await peers.peer.close()
        await peers.bare.close()
      })

      for (const subject of subjects) {
        const pairing: Pairing = `${era} → ${subject.era}`
        describe(`with a server of ${subject.name}: ${pairing}`, () => {
          for (const { impossible, name, works } of features) {
            const instead = impossible?.instead[pairing]
            it(instead === undefined ? name : `${name}: impossible. ${impossible?.reason}`, () =>
              (instead ?? works)({
                ...peers,
                url: running.url,
                subject: { ...subject, ...running.watched[subject.service] }
              }))
          }
        })
      }
    })
  }
})

it("the page for clients shows the matrix", () => {
  const page = Fs.readFileSync(new URL("../../../docs/clients.md", import.meta.url), "utf8")
  const rows = page.split("\n").filter((line) => line.startsWith("|")).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  )
  const start = rows.findIndex(([, ...rest]) => pairings.every((pairing, at) => rest[at] === pairing))
  assert.deepStrictEqual(
    rows.slice(start + 2, start + 2 + features.length),
    features.map(({ impossible, name }) => [
      name,
      ...pairings.map((pairing) => impossible?.instead[pairing] === undefined ? "yes" : "—"),
      impossible?.reason ?? ""
    ])
  )
})
