/**
 * The official conformance suite through the gateway, three other servers beside the one that it asks: whoever asks can't
 * tell that it isn't the server itself.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Eras, fleet, server } from "./fleet.ts"
import * as Suite from "./suite.ts"

type Known = Readonly<Record<string, ReadonlyArray<string>>>

/** Checks that can't pass through the gateway, by scenario; `docs/conformance.md` says why. */
const known: Readonly<Record<Eras, Known>> = {
  both: {
    "server-sse-polling": ["nothing checked"],
    "tasks-status-notifications": ["nothing checked"]
  },
  handshake: {
    "server-stateless": ["sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400"],
    "input-required-result-basic-elicitation": ["sep-2322-elicitation-incomplete"],
    "input-required-result-ignore-extra-params": ["sep-2322-ignore-unexpected-params"]
  }
}

/** Scenarios of a revision, asked of the server that `start` gives the URL of. */
const ask = (
  start: Effect.Effect<string, never, Scope.Scope>,
  revision: Suite.Revision,
  scenarios: ReadonlyArray<string>,
  known: Known = {}
) => {
  const scope = Scope.makeUnsafe()
  let findings: Suite.Findings = { checks: new Map(), output: "" }

  beforeAll(() =>
    Effect.gen(function*() {
      const url = yield* Effect.provideService(start, Scope.Scope, scope)
      findings = yield* Suite.run(["server", "--url", url, "--requirements", revision])
    }).pipe(Effect.runPromise)
  )

  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  it.each(scenarios)("%s", (scenario) => {
    const expected = known[scenario] ?? []
    const objections = Suite.objections(findings, scenario)
    assert.deepStrictEqual(objections.filter(({ id }) => !expected.includes(id)), [])
    assert.deepStrictEqual(expected.filter((id) => !objections.some((objection) => objection.id === id)), [])
  })
}

/** The same through the gateway, in front of a server of these eras. */
const through = (eras: Eras, revision: Suite.Revision, scenarios: ReadonlyArray<string>) =>
  ask(
    Effect.map(fleet(eras), ({ url }) => `${url}/mcp`),
    revision,
    scenarios,
    known[eras]
  )

const of = (revision: Suite.Revision) => Suite.requirements(revision, "server")

it("requires 30 and 37 scenarios", () => {
  assert.deepStrictEqual(Suite.revisions.map((revision) => of(revision).required.length), [30, 37])
  assert.isTrue(
    Object.keys(known.both).every((name) => Suite.revisions.every((each) => !of(each).required.includes(name)))
  )
})

describe.each(Suite.revisions)("%s, asked without the gateway", (revision) => {
  ask(server("both"), revision, of(revision).required)
})

describe.each(Suite.revisions)("%s, in front of a server of both eras", (revision) => {
  const { notScored, required } = of(revision)
  through("both", revision, [...required, ...notScored])
})

// The server can't speak to the gateway as the suite does to the gateway: all is translated.
describe.each(Suite.revisions)("%s, in front of a server of the handshake era", (revision) => {
  through("handshake", revision, of(revision).required)
})
