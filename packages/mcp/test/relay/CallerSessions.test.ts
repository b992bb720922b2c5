/**
 * What a session's client says of itself, towards scripted servers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { Fields } from "../../src/JsonRpc.ts"
import * as Replay from "../../src/relay/http/Replay.ts"
import * as Seal from "../../src/relay/Seal.ts"
import * as CallerSessions from "../../src/relay/sessions/CallerSessions.ts"
import * as Sessions from "../../src/relay/sessions/Sessions.ts"
import * as SessionSeal from "../../src/relay/sessions/SessionSeal.ts"
import type { Caller, CallerSession } from "../../src/upstream/Upstream.ts"
import { eventually } from "../upstream/Harness.ts"
import { harness, text } from "./Harness.ts"

/** Sessions over one server of each era, of which the one that hears answers when the test says so. */
const store = Effect.gen(function*() {
  const { upstream } = yield* harness({
    servers: [
      { id: "a", answer: () => Effect.succeed(text("x")) },
      { id: "b", era: "stateless", answer: () => Effect.succeed(text("x")) }
    ],
    offers: []
  })
  const told: Array<readonly [string, string, Caller | undefined]> = []
  const forgotten: Array<CallerSession> = []
  let answer = () => {}
  const callers = CallerSessions.make({
    runFork: Effect.runFork,
    logging: { passes: () => true },
    tasks: { tell: () => {}, asClient: (_upstream, _client, request) => request },
    upstreams: {
      all: () =>
        ["a", "b"].map((id) => ({
          ...upstream(id),
          notify: (method, _params, caller) =>
            Effect.callback<void>((resume) => {
              told.push([id, method, caller])
              answer = () => resume(Effect.void)
            })
        })),
      forget: (session) => void forgotten.push(session)
    }
  })
  const sessions = Sessions.make({
    seal: SessionSeal.make(Seal.make(Redacted.make("k"))),
    now: () => 0,
    maxSessions: 10,
    maxSessionsPerClient: 10,
    idleTimeout: 100,
    lifetime: 100,
    questions: { inputTimeout: 100, reachTimeout: 100, maxQuestions: 1 },
    replays: Replay.make({ now: () => 0, maxReplay: 0, maxReplayTotal: 0, keep: 0 }),
    callerSession: callers.make,
    onDrop: callers.forget
  })
  const open = (capabilities: Fields): Sessions.Session => {
    const opened = sessions.open({
      era: "handshake",
      protocolVersion: "2025-11-25",
      info: {},
      capabilities,
      principal: undefined
    }, undefined)
    return "error" in opened ? assert.fail(opened.error.message) : opened
  }
  return { callers, sessions, told, forgotten, open, answer: () => answer() }
})

describe("a client whose roots change", () => {
  it.live("is heard by servers with sessions, and once more at most however often it says so meanwhile", () =>
    Effect.gen(function*() {
      const { answer, callers, open, told } = yield* store
      const session = open({ roots: { listChanged: true } })
      for (let count = 0; count < 1_000; count++) callers.rootsChanged(session)
      assert.deepStrictEqual(told, [["a", "notifications/roots/list_changed", session.client.caller]])
      answer()
      yield* eventually("the second", () => told.length === 2 ? true : undefined)
      answer()
      callers.rootsChanged(session)
      yield* eventually("the third", () => told.length === 3 ? true : undefined)
    }))

  it.live("isn't heard where it did not say that it would tell, or is gone", () =>
    Effect.gen(function*() {
      const { answer, callers, forgotten, open, sessions, told } = yield* store
      for (const capabilities of [{}, { roots: {} }, { roots: { listChanged: false } }, { sampling: {} }]) {
        callers.rootsChanged(open(capabilities))
      }
      assert.deepStrictEqual(told, [])
      const session = open({ roots: { listChanged: true } })
      callers.rootsChanged(session)
      callers.rootsChanged(session)
      sessions.end(session)
      answer()
      yield* Effect.yieldNow
      assert.lengthOf(told, 1)
      assert.deepStrictEqual(forgotten, [session.client.caller.session])
      // Whoever can't be asked anything has nothing that could be forgotten.
      sessions.end(open({}))
      assert.lengthOf(forgotten, 1)
    }))
})
