/**
 * The client scenarios of the official conformance suite: the gateway is the client that they judge, in front of the
 * suite's own servers.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { createServer } from "node:http"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { type Era, perform, Task } from "./client.ts"
import * as Suite from "./suite.ts"

/** Scenarios that are no requirement, and of what the gateway doesn't do. */
const without: Readonly<Record<string, string>> = {
  "auth/client-credentials-jwt": "a client is known by its secret, not by a signed assertion",
  "auth/enterprise-managed-authorization": "no tokens are exchanged with an identity provider",
  "auth/dpop": "tokens aren't bound to a key",
  "auth/dpop-nonce": "tokens aren't bound to a key",
  "auth/wif-jwt-bearer": "no identities of workloads"
}

/**
 * Does these scenarios as they are handed over; gives the URL for that. The suite asks for all of a revision at once, and has
 * no time for anybody until their clients have started: so they wait for each other, and then go two by two.
 */
const performer = (
  scenarios: ReadonlyArray<string>,
  all: number,
  era: Era
): Effect.Effect<string, never, Scope.Scope> => {
  const room = Semaphore.makeUnsafe(2)
  const complete = Latch.makeUnsafe(false)
  let handedOver = 0
  const take = (task: Task) =>
    Effect.suspend(() => {
      if (++handedOver === all) complete.openUnsafe()
      if (!scenarios.includes(task.scenario)) return Effect.void
      return complete.await.pipe(
        Effect.andThen(room.withPermit(Effect.scoped(perform(task, era)))),
        Effect.provideService(References.MinimumLogLevel, "None")
      )
    })
  return Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer(async (request, response) => {
        const exit = await Effect.runPromiseExit(take(Task.parse(JSON.parse(await text(request)))))
        response.writeHead(Exit.isSuccess(exit) ? 200 : 500).end(String(exit))
      }).listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, close: () => void server.close() }))
      })
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ url }) => url))
}

const of = (revision: Suite.Revision) => Suite.requirements(revision, "client")

const handOver = `${process.execPath} ${fileURLToPath(new URL("handOver.mjs", import.meta.url))}`

/** Judges the gateway in these scenarios of a revision, as it is called by a client of an era. */
const judge = (revision: Suite.Revision, era: Era, scenarios: ReadonlyArray<string>) => {
  let findings: Suite.Findings = { checks: new Map(), output: "" }

  beforeAll(() =>
    Effect.gen(function*() {
      const { notScored, required } = of(revision)
      const url = yield* performer(scenarios, required.length + notScored.length, era)
      const command = `${handOver} ${url}`
      findings = yield* Suite.run(["client", "--command", command, "--requirements", revision, "--timeout", "240000"])
    }).pipe(Effect.scoped, Effect.runPromise), 300_000)

  it.each(scenarios)("%s", (scenario) => assert.deepStrictEqual(Suite.objections(findings, scenario), []))
}

it("requires 18 and 32 scenarios", () => {
  assert.deepStrictEqual(Suite.revisions.map((revision) => of(revision).required.length), [18, 32])
  assert.isTrue(
    Object.keys(without).every((name) => Suite.revisions.every((each) => !of(each).required.includes(name)))
  )
})

describe.each([["2025-11-25", "handshake"], ["2026-07-28", "stateless"]] as const)("%s", (revision, era) => {
  const { notScored, required } = of(revision)
  judge(revision, era, [...required, ...notScored].filter((name) => !(name in without)))
})

// What the SDK's client of the server's own era does by itself, the gateway has to do here.
describe.each(
  [["2025-11-25", "stateless"], ["2026-07-28", "handshake"]] as const
)("%s, called in the %s era", (revision, era) => {
  judge(revision, era, of(revision).required.filter((name) => !name.startsWith("auth/")))
})
