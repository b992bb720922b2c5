/**
 * What holds for the connections of callers whatever happens, and in whatever order.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import type { Reply } from "../../src/JsonRpc.ts"
import * as Supervisor from "../../src/upstream/Supervisor.ts"
import type { Caller, UpstreamError } from "../../src/upstream/Upstream.ts"
import * as Harness from "./Harness.ts"
import * as MemoryServer from "./MemoryServer.ts"

const Limit = 3

const session = (): Caller => ({
  principal: undefined,
  capabilities: { elicitation: {} },
  session: { onRequest: () => {}, onNotification: () => {} }
})

const act = fc.oneof(
  { weight: 6, arbitrary: fc.record({ act: fc.constant("call" as const), who: fc.nat(6) }) },
  { weight: 4, arbitrary: fc.record({ act: fc.constant("finish" as const), who: fc.nat(8) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("give up" as const), who: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("lose" as const), who: fc.nat(8) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("forget" as const), who: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("open" as const), who: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("refuse" as const), who: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("wait" as const), who: fc.constantFrom(1, 1_000, 400_000) }) }
)

type Act = typeof act extends fc.Arbitrary<infer A> ? A : never

const law = (acts: ReadonlyArray<Act>, slow: boolean, kind: "stdio" | "http") =>
  Effect.gen(function*() {
    const { all, answer, finish, transport } = MemoryServer.make(kind, { slow })
    const scope = yield* Scope.make()
    const { forget, run, upstream } = yield* Supervisor.make({
      entry: () =>
        Harness.entryOf({
          id: "a",
          service: "a",
          endpoint: { transport: "stdio", command: "x" },
          metadata: { "mcp-era": "handshake" }
        }),
      kind,
      transport: Effect.succeed(transport),
      emit: () => {},
      entered: () => {},
      gate: yield* Semaphore.make(8),
      connectTimeout: Duration.seconds(10),
      probeTimeout: Duration.seconds(3),
      limits: { maxSessions: Limit, idleTimeout: Duration.minutes(5) }
    }).pipe(Scope.provide(scope))
    yield* Effect.forkIn(run, scope, { startImmediately: true })
    yield* TestClock.adjust(0)

    // How many sessions there were before.
    const sessions = [0, 0]
    const own: Array<Caller> = [session(), session()]
    const callers = (): ReadonlyArray<Caller | undefined> => [
      undefined,
      { principal: "ada", capabilities: {}, session: undefined },
      { principal: "bob", capabilities: {}, session: undefined },
      { principal: undefined, capabilities: { roots: {} }, session: undefined },
      { principal: undefined, capabilities: { elicitation: {} }, session: undefined },
      ...own
    ]
    const calls: Array<Fiber.Fiber<Reply, UpstreamError>> = []
    for (const { act, who } of acts) {
      switch (act) {
        case "call":
          calls.push(
            yield* Effect.forkIn(
              upstream.request({
                method: "tools/call",
                params: { who: who < 5 ? who : who + 10 * (sessions[who - 5] ?? 0) },
                caller: callers()[who]
              }),
              scope,
              { startImmediately: true }
            )
          )
          break
        case "finish":
          finish(all[who % all.length])
          break
        case "give up":
          calls[who % Math.max(1, calls.length)]?.interruptUnsafe()
          break
        case "lose":
          // Not the gateway's own.
          if (who > 0 && all[who]?.closed === false) {
            all[who]?.lose({ phase: "notSent", reason: "exited", connectionLost: true })
          }
          break
        case "forget": {
          const caller = own[who]
          if (caller?.session !== undefined) forget(caller.session)
          own[who] = session()
          sessions[who] = (sessions[who] ?? 0) + 1
          break
        }
        case "open":
          answer()
          break
        case "refuse":
          answer({ phase: "answered", reason: "no", status: 500 })
          break
        case "wait":
          yield* TestClock.adjust(who)
      }
      yield* TestClock.adjust(0)
      const open = all.slice(1).filter(({ closed }) => !closed)
      // One that is let go may still have calls under way; it takes no more.
      assert.isAtMost(open.filter(({ calls }) => calls.length === 0).length, Limit)
      for (const { calls, declared } of open) {
        const whose = new Set(calls.map(({ who }) => who))
        assert.isAtMost(whose.size, 1, "callers that differ share a connection")
        const [who] = whose
        if (kind === "stdio" && (who === 3 || who === 4)) {
          assert.isAtMost(calls.length, 1, "an exclusive connection is shared")
        }
        if (who !== undefined) {
          assert.deepStrictEqual(declared, who === 3 ? { roots: {} } : Number(who) > 3 ? { elicitation: {} } : {})
        }
      }
      assert.isTrue(
        all[0]?.calls.every(({ who }) => who === 0) ?? true
      )
    }

    // In the end all have their answer, or know why they have none.
    for (let round = 0; round < 20 && calls.some((call) => call.pollUnsafe() === undefined); round++) {
      answer()
      for (const one of all) finish(one)
      yield* TestClock.adjust("1 second")
    }
    for (const call of calls) assert.isDefined(call.pollUnsafe(), "a call hangs")
    for (const { session } of own) if (session !== undefined) forget(session)
    yield* TestClock.adjust("20 minutes")
    assert.strictEqual(all.filter(({ closed }) => !closed).length, 1, "a connection stays open")
    yield* Scope.close(scope, Exit.void)
    assert.strictEqual(all.filter(({ closed }) => !closed).length, 0)
  }).pipe(Effect.scoped, Effect.provide(TestClock.layer()))

describe("a pool", () => {
  it("keeps its limit, its promises, and nothing else", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(act, { maxLength: 60 }),
        fc.boolean(),
        fc.constantFrom("stdio" as const, "http" as const),
        (acts, slow, kind) => Effect.runPromise(law(acts, slow, kind))
      ),
      { numRuns: 300 }
    ), 60_000)
})
