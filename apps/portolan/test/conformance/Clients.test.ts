/**
 * The client scenarios of the official conformance suite: the gateway is the client that they judge, in front of the
 * suite's own servers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { fileURLToPath } from "node:url"
import * as Suite from "./suite.ts"

/** Scenarios that are no requirement, and of what the gateway doesn't do. */
const without: Readonly<Record<string, string>> = {
  "auth/client-credentials-jwt": "a client is known by its secret, not by a signed assertion",
  "auth/enterprise-managed-authorization": "no tokens are exchanged with an identity provider",
  "auth/dpop": "tokens aren't bound to a key",
  "auth/dpop-nonce": "tokens aren't bound to a key",
  "auth/wif-jwt-bearer": "no identities of workloads"
}

const command = `${process.execPath} ${fileURLToPath(new URL("client.ts", import.meta.url))}`

/** Each runs three processes. */
const room = Semaphore.makeUnsafe(2)

/** Judges the gateway as it is called by a client of an era, that of the revision by default. */
const scenario = (revision: Suite.Revision, name: string, era?: "handshake" | "stateless") => {
  const client = era === undefined ? command : `${command} ${era}`
  return Suite.run(["client", "--command", client, "--scenario", name, "--spec-version", revision, "--force"]).pipe(
    room.withPermit,
    Effect.map((findings) => Suite.objections(findings, name)),
    Effect.runPromise
  )
}

const of = (revision: Suite.Revision) => Suite.requirements(revision, "client")

it("requires 18 and 32 scenarios", () => {
  assert.deepStrictEqual(Suite.revisions.map((revision) => of(revision).required.length), [18, 32])
  assert.isTrue(
    Object.keys(without).every((name) => Suite.revisions.every((each) => !of(each).required.includes(name)))
  )
})

describe.each(Suite.revisions)("%s", (revision) => {
  const { notScored, required } = of(revision)
  it.concurrent.each([...required, ...notScored].filter((name) => !(name in without)))("%s", async (name) => {
    assert.deepStrictEqual(await scenario(revision, name), [])
  }, 120_000)
})

// What the SDK's client of the server's own era does by itself, the gateway has to do here.
describe.each(
  [["2025-11-25", "stateless"], ["2026-07-28", "handshake"]] as const
)("%s, called in the %s era", (revision, era) => {
  it.concurrent.each(of(revision).required.filter((name) => !name.startsWith("auth/")))("%s", async (name) => {
    assert.deepStrictEqual(await scenario(revision, name, era), [])
  }, 120_000)
})
