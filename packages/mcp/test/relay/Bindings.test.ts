/**
 * Sessions stay with the instance that keeps their state.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as fc from "fast-check"
import type { Fields, Reply } from "../../src/JsonRpc.ts"
import type { SessionMode } from "../../src/relay/sessions/Bindings.ts"
import { type Caller, UpstreamError } from "../../src/upstream/Upstream.ts"
import { type Answer, harness, text } from "./Harness.ts"

const ids = ["a", "b", "c", "d"] as const
type Id = (typeof ids)[number]

/** Servers that keep state, and can be restarted, cut off and held up. */
const fleet = Effect.fnUntraced(function*(options: {
  readonly sessions?: SessionMode
  readonly stateful?: boolean
  readonly repeatable?: boolean
  readonly hedging?: boolean
  readonly ids?: ReadonlyArray<string>
} = {}) {
  const sessions = new Map<string, symbol>()
  const failing = new Map<string, UpstreamError["phase"]>()
  const away = new Set<string>()
  const held = new Map<string, Promise<void>>()
  const used = options.ids ?? ids
  for (const id of used) sessions.set(id, Symbol(id))
  const answer = (id: string): Effect.Effect<Reply, UpstreamError> =>
    Effect.gen(function*() {
      const hold = held.get(id)
      if (hold !== undefined) yield* Effect.promise(() => hold)
      const phase = failing.get(id)
      if (phase !== undefined) return yield* new UpstreamError({ instance: id, phase, reason: "it fails" })
      return text(id)
    })
  const made = yield* harness({
    servers: used.map((id) => ({
      id,
      ...(options.stateful === false ? {} : { session: () => sessions.get(id) }),
      connected: () => !away.has(id),
      answer: () => answer(id)
    })),
    offers: [
      { name: "look", repeatable: options.repeatable ?? true, readOnly: options.hedging },
      { name: "other", repeatable: true }
    ],
    options: { sessions: options.sessions },
    routing: options.hedging === true ? { hedging: { percentile: 0.5, share: 1 } } : undefined,
    balancing: { strategy: "round-robin" }
  })
  const of = ({ messages: [message] }: Answer): { readonly text: string; readonly error: Fields | undefined } => {
    const content = message?.result?.["content"]
    const [first] = Array.isArray(content) ? content : []
    return { text: String(first?.text), error: message?.error }
  }
  let count = 0
  const open = Effect.map(made.initialize(), ({ headers }) => (tool = "look") =>
    Effect.map(
      made.post({ jsonrpc: "2.0", id: ++count, method: "tools/call", params: { name: `svc__${tool}` } }, headers),
      of
    ))
  return {
    ...made,
    open,
    failing,
    held,
    /** The process is gone, or back with nothing of what it kept. */
    crash: (id: string) => {
      away.add(id)
      failing.set(id, "notSent")
    },
    restart: (id: string) => {
      away.delete(id)
      failing.delete(id)
      sessions.set(id, Symbol(id))
    }
  }
})

const times = <A, E, R>(count: number, effect: Effect.Effect<A, E, R>) =>
  Effect.all(Array.from({ length: count }, () => effect))

const textsOf = (answers: ReadonlyArray<{ readonly text: string }>) => new Set(answers.map(({ text }) => text))

describe("a session of a server that keeps state", () => {
  it.live("stays with the instance that answered first, whatever else is balanced", () =>
    Effect.gen(function*() {
      const { open } = yield* fleet()
      const calls = yield* times(8, open)
      const homes = yield* Effect.forEach(calls, (call) => call())
      assert.strictEqual(textsOf(homes).size, ids.length)
      for (let round = 0; round < 5; round++) {
        for (const [index, call] of calls.entries()) {
          assert.strictEqual((yield* call(round % 2 === 0 ? "look" : "other")).text, homes[index]?.text)
        }
      }
    }))

  it.live("is bound by the first call, not by its answer", () =>
    Effect.gen(function*() {
      const { held, open } = yield* fleet()
      const { promise, resolve } = Promise.withResolvers<void>()
      for (const id of ids) held.set(id, promise)
      const call = yield* open
      const answers = yield* Effect.all([
        Effect.all(Array.from({ length: 12 }, () => call()), { concurrency: "unbounded" }),
        Effect.andThen(Effect.sleep("100 millis"), Effect.sync(resolve))
      ], { concurrency: "unbounded" })
      assert.strictEqual(textsOf(answers[0]).size, 1)
    }))

  it.live("is bound to the one that answered where its first call was hedged", () =>
    Effect.gen(function*() {
      const { asked, held, open } = yield* fleet({ hedging: true, ids: ["a", "b"] })
      // So that it is known how long calls take.
      for (let count = 0; count < 40; count++) yield* (yield* open)()
      const gates = new Map(["a", "b"].map((id) => [id, Promise.withResolvers<void>()] as const))
      for (const [id, { promise }] of gates) held.set(id, promise)
      const call = yield* open
      const before = asked.length
      const first = yield* Effect.forkChild(call())
      yield* Effect.sync(() => asked.length - before).pipe(
        Effect.repeat({ until: (sent) => sent === 2, schedule: Schedule.spaced("5 millis") }),
        Effect.timeout("10 seconds")
      )
      const id = asked[before]?.id ?? ""
      gates.get(id)?.resolve()
      assert.strictEqual((yield* Fiber.join(first)).text, id)
      held.clear()
      for (let count = 0; count < 4; count++) assert.strictEqual((yield* call()).text, id)
    }))

  it.live("moves as one when the instance goes, and stays where it moved to", () =>
    Effect.gen(function*() {
      const { crash, open, restart } = yield* fleet()
      const call = yield* open
      const { text: home } = yield* call()
      crash(home)
      const moved = textsOf(yield* Effect.all(Array.from({ length: 12 }, () => call()), { concurrency: "unbounded" }))
      assert.strictEqual(moved.size, 1)
      assert.isFalse(moved.has(home))
      restart(home)
      for (let count = 0; count < 8; count++) assert.isTrue(moved.has((yield* call()).text))
    }))

  it.live("doesn't move for one call that failed while its state is there", () =>
    Effect.gen(function*() {
      const { failing, open } = yield* fleet()
      const call = yield* open
      const { text: home } = yield* call()
      failing.set(home, "answered")
      assert.notStrictEqual((yield* call()).text, home)
      failing.delete(home)
      assert.strictEqual((yield* call()).text, home)
    }))

  it.live("repeats nothing that may have run, and goes on elsewhere", () =>
    Effect.gen(function*() {
      const { asked, crash, failing, open } = yield* fleet({ repeatable: false })
      const call = yield* open
      const { text: home } = yield* call()
      crash(home)
      failing.set(home, "mayHaveRun")
      const before = asked.length
      assert.match(String((yield* call()).error?.["message"]), /It may have run, and was not repeated/)
      assert.strictEqual(asked.length - before, 1)
      // It certainly didn't get there: that is no repetition.
      failing.set(home, "notSent")
      const { text: next } = yield* call()
      assert.notStrictEqual(next, home)
      assert.strictEqual((yield* call()).text, next)
    }))

  it.live("is kept by an instance that drains, where no other session begins", () =>
    Effect.gen(function*() {
      const { mark, open } = yield* fleet()
      const call = yield* open
      const { text: home } = yield* call()
      yield* mark(home, "draining")
      for (let count = 0; count < 6; count++) assert.strictEqual((yield* call()).text, home)
      const others = yield* Effect.forEach(yield* times(6, open), (other) => other())
      assert.isFalse(textsOf(others).has(home))
      yield* mark(home, "down")
      assert.notStrictEqual((yield* call()).text, home)
    }))

  it.live("is free to go anywhere with `sessions: free`, and of servers that keep no state", () =>
    Effect.gen(function*() {
      for (const options of [{ sessions: "free" }, { stateful: false }] as const) {
        const { open } = yield* fleet(options)
        const call = yield* open
        assert.strictEqual(textsOf(yield* times(ids.length, call())).size, ids.length)
      }
    }))

  it.live("takes `sessions` at run time", () =>
    Effect.gen(function*() {
      const { endpoint, open } = yield* fleet()
      const call = yield* open
      assert.strictEqual(textsOf(yield* times(ids.length, call())).size, 1)
      yield* endpoint.reconfigure({ sessions: "free" })
      assert.isAbove(textsOf(yield* times(ids.length, call())).size, 1)
    }))

  it.live("B16: has one instance for 100 % of its calls under churn of the others", () =>
    Effect.gen(function*() {
      const run = Effect.runPromiseWith(yield* Effect.context())
      const { crash, failing, held: _, mark, open, restart, status } = yield* fleet()
      let proven = 0
      const id = fc.constantFrom(...ids)
      const session = fc.nat({ max: 5 })
      const command = fc.oneof(
        { weight: 6, arbitrary: fc.record({ do: fc.constant("call" as const), session }) },
        fc.record({ do: fc.constant("open" as const), session }),
        fc.record({ do: fc.constantFrom("crash" as const, "restart" as const), id }),
        fc.record({ do: fc.constant("mark" as const), id, as: fc.constantFrom("up" as const, "draining", "down") })
      )
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 60 }), async (commands) => {
            for (const each of ids) {
              restart(each)
              await run(mark(each, "up"))
            }
            const homes: Array<{ home: string | undefined; call: Effect.Success<typeof open> }> = []
            for (let count = 0; count < 6; count++) homes.push({ home: undefined, call: await run(open) })
            /** Whether calls can be answered there. */
            const serves = (each: string) =>
              !failing.has(each) && ["healthy", "degraded", "unknown", "draining"].includes(status(each))
            for (const command of commands) {
              if (command.do === "mark") await run(mark(command.id, command.as))
              else if (!("session" in command)) (command.do === "crash" ? crash : restart)(command.id)
              else if (command.do === "open") homes[command.session] = { home: undefined, call: await run(open) }
              else {
                const session = homes[command.session]!
                const { home } = session
                const kept = home !== undefined && serves(home)
                const { error, text } = await run(session.call())
                // One that fails may have gone on, to others that fail: nobody keeps anything for it then.
                if (kept) {
                  assert.strictEqual(error === undefined ? text : String(error["message"]), home)
                  proven++
                } else session.home = error === undefined ? text : undefined
              }
            }
          }),
          { numRuns: 20 }
        )
      )
      assert.isAbove(proven, 100)
    }), 60_000)
})

describe("`sessions: strict`", () => {
  const lost = (answer: { readonly error: Fields | undefined }) => {
    assert.deepInclude(answer.error?.["data"], { reason: "sessionLost" })
    assert.match(String(answer.error?.["message"]), /^svc__look: .*what it kept for this session is lost; begin a new/)
  }

  it.live("loses a session with its instance, until the client begins a new one", () =>
    Effect.gen(function*() {
      const { asked, mark, open } = yield* fleet({ sessions: "strict" })
      const call = yield* open
      const { text: home } = yield* call()
      yield* mark(home, "down")
      lost(yield* call())
      yield* mark(home, "up")
      const before = asked.length
      lost(yield* call())
      assert.strictEqual(asked.length, before)
      const again = yield* open
      assert.isUndefined((yield* again()).error)
    }))

  it.live("loses it when the instance was started anew, and never moves it", () =>
    Effect.gen(function*() {
      const { crash, open, restart } = yield* fleet({ sessions: "strict" })
      const [call, other] = [yield* open, yield* open]
      const { text: home } = yield* call()
      const { text: elsewhere } = yield* other()
      assert.notStrictEqual(elsewhere, home)
      crash(home)
      const failed = yield* call()
      assert.isDefined(failed.error)
      restart(home)
      lost(yield* call())
      lost(yield* call())
      assert.strictEqual((yield* other()).text, elsewhere)
    }))

  it.live("may begin anywhere: nothing is lost where nothing answered yet", () =>
    Effect.gen(function*() {
      const { crash, open } = yield* fleet({ sessions: "strict" })
      for (const id of ["a", "b", "c"] satisfies ReadonlyArray<Id>) crash(id)
      const call = yield* open
      const answer = yield* call()
      // Three attempts may all meet one that is gone; the next call doesn't.
      assert.strictEqual((answer.error === undefined ? answer : yield* call()).text, "d")
    }))
})

describe("a session with connections of its own", () => {
  /** Two servers that know each such session by itself; the sessions that they keep, by the caller's. */
  const fleet = (sessions: SessionMode) =>
    Effect.gen(function*() {
      const kept = new Map<unknown, symbol>()
      const shared = Symbol("shared")
      const keptFor = (caller: Caller | undefined) => {
        if (caller?.session === undefined) return shared
        const known = kept.get(caller.session) ?? Symbol("own")
        kept.set(caller.session, known)
        return known
      }
      const made = yield* harness({
        servers: ["a", "b"].map((id) => ({ id, session: keptFor, answer: () => Effect.succeed(text(id)) })),
        offers: [{ name: "look", repeatable: true }],
        options: { sessions },
        balancing: { strategy: "round-robin" }
      })
      let count = 0
      const open = Effect.map(made.initialize("2025-11-25", {}, { elicitation: {} }), ({ headers }) =>
        Effect.map(
          made.post({ jsonrpc: "2.0", id: ++count, method: "tools/call", params: { name: "svc__look" } }, headers),
          ({ messages: [message] }) => message?.error?.message ?? JSON.stringify(message?.result?.["content"])
        ))
      return { open, kept }
    })

  for (const sessions of ["sticky", "strict"] as const) {
    it.live(`${sessions}: stays where it is kept; that it is lost there is its own loss`, () =>
      Effect.gen(function*() {
        const { kept, open } = yield* fleet(sessions)
        const one = yield* open
        const other = yield* open
        const home = yield* one
        const elsewhere = yield* other
        for (let times = 0; times < 4; times++) {
          assert.strictEqual(yield* one, home)
          assert.strictEqual(yield* other, elsewhere)
        }
        assert.strictEqual(kept.size, 2)
        const [first] = kept.keys()
        kept.delete(first)
        if (sessions === "sticky") assert.strictEqual(yield* one, home)
        else assert.include(yield* one, "session")
        assert.strictEqual(yield* other, elsewhere)
      }))
  }
})
