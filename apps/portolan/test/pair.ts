/**
 * Two servers of one service behind a gateway, of which one is lost while clients call. Each is a process of `replica.ts`.
 */
import { assert } from "@effect/vitest"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { setTimeout } from "node:timers/promises"
import { timed } from "./fleet.ts"
import * as Peers from "./peers.ts"
import { type Running, until } from "./process.ts"

/** Ids of the instances in the catalog. */
export const listed = ({ url }: Pick<Running, "url">): Effect.Effect<ReadonlyArray<string>> =>
  Effect.promise(async () => {
    const { items }: { readonly items: ReadonlyArray<{ readonly id: string }> } = JSON.parse(
      await (await fetch(`${url}/api/v1/instances`)).text()
    )
    return items.map(({ id }) => id).sort()
  })

/** The process that answered, and the instance that it is. */
const answeredBy = (reply: Peers.Reply): { readonly pid: number; readonly instance: string } => {
  const meta: { readonly [key: string]: { readonly instance?: string } | undefined } = Object(
    Reflect.get(reply, "_meta")
  )
  return {
    pid: Number(/ by (\d+)$/.exec(Peers.textOf(reply))?.[1]),
    instance: meta["dev.portolan/routing"]?.instance ?? ""
  }
}

export interface Pair {
  /** The process of each instance, by its id. */
  readonly pids: ReadonlyMap<string, number>
  /**
   * Kills a server while clients call, without a call that fails; ms until it is gone. `gone` is when it isn't in the
   * catalog any more, unless another sign is asked for.
   */
  readonly lose: (
    kill: Effect.Effect<unknown>,
    gone?: Effect.Effect<boolean>
  ) => Effect.Effect<number, Cause.TimeoutError, Scope.Scope>
}

/** Waits until both servers were found and called. */
export const found = (running: Running, tool: string): Effect.Effect<Pair, Cause.TimeoutError, Scope.Scope> =>
  Effect.gen(function*() {
    const peer = yield* Peers.stateless(running.url)
    const look = (id: string) => peer.call(tool, { id })
    const pids = new Map<string, number>()
    yield* until(
      Effect.promise(async () => {
        if (!(await peer.tools()).some(({ name }) => name === tool)) return false
        const { instance, pid } = answeredBy(await look("first"))
        pids.set(instance, pid)
        return pids.size === 2
      }),
      30_000
    )
    assert.deepStrictEqual(yield* listed(running), Array.from(pids.keys()).sort())
    return {
      pids,
      lose: (kill, gone = Effect.map(listed(running), (ids) => ids.length === 1)) =>
        Effect.gen(function*() {
          const failed: Array<string> = []
          let calls = 0
          let pause = 0
          const done = new AbortController()
          const caller = Effect.promise(async (interrupted) => {
            while (!done.signal.aborted && !interrupted.aborted) {
              const id = `call-${++calls}`
              const said = await look(id).then(Peers.textOf, String)
              if (!said.startsWith(`${id} by `)) failed.push(said)
              if (pause > 0) await setTimeout(pause)
            }
          })
          const callers = yield* Effect.forkScoped(
            Effect.all(Array.from({ length: 4 }, () => caller), { concurrency: "unbounded" })
          )
          yield* until(Effect.sync(() => calls > 100), 30_000)
          const before = calls
          yield* kill
          const [, time] = yield* timed(Effect.gen(function*() {
            yield* until(Effect.sync(() => calls > before + 50), 30_000)
            // What was under way has been answered. A lease takes seconds to end, in which callers need no whole machine.
            pause = 100
            yield* until(gone, 60_000)
          }))
          const after = calls
          // Those of the other one are no fewer for it.
          yield* until(Effect.sync(() => calls > after + 8), 30_000)
          done.abort()
          yield* Fiber.join(callers)
          assert.deepStrictEqual(failed, [])
          return time
        })
    }
  })
