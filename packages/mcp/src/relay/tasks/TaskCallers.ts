/**
 * Whom servers of the handshake era run tasks for: mostly they know a task in the session alone that began it, so what is
 * asked of a task must come over the connection that began it, which must last as long as the task.
 *
 * **Mental model**: a client that has connections of its own has its tasks there, and one that shares the gateway's, there.
 * All others that are the same to a server share one for their tasks, while one of these lives.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Sharing from "../../upstream/pool/Sharing.ts"
import type { Caller, CallerSession } from "../../upstream/Upstream.ts"
import type { Upstreams } from "../../upstream/Upstreams.ts"
import type { Client } from "../calls/Exchange.ts"

/**
 * The callers. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskCallers {
  /**
   * The caller for the tasks of a client at servers of the handshake era. For one task: the one that it was begun for, also
   * where the client, which may declare something else with each request, does that now.
   */
  readonly of: (client: Client, id?: string) => Caller
  /** A task of a client was begun, and lives for so many ms; `null` and anything else: nobody knows. */
  readonly begun: (client: Client, id: string, ttl: unknown) => void
  /** A client looks at its task. */
  readonly seen: (client: Client, id: string) => void
}

interface Group {
  readonly caller: Caller
  readonly session: CallerSession
  /** Tasks that live. */
  tasks: number
  /** ms */
  seen: number
}

interface Begun {
  readonly group: Group
  /** ms */
  readonly expires: number
}

/** Groups, and tasks of all of them; the oldest of these are forgotten first. */
const MaxGroups = 1_000
const MaxTasks = 10_000
/** ms that a task lives: where its server names no time, at most, and at least from when its client looked last. */
const UnnamedTime = 3_600_000
const LongestTime = 24 * 3_600_000
const SeenTime = 600_000
/** ms that a group without tasks lasts: a call that begins one is under way. */
const IdleTime = 600_000
/** ms between two looks for what is over. */
const SweepTime = 30_000

/**
 * Makes them. `hooks` get what servers ask and say on the connections of groups.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  upstreams: Pick<Upstreams["Service"], "forget">,
  hooks: CallerSession
): Effect.Effect<TaskCallers, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    const groups = new Map<string, Group>()
    // The one that was begun, or looked at, last at the end.
    const tasks = new Map<string, Begun>()

    const drop = (id: string, { group }: Begun): void => {
      tasks.delete(id)
      group.tasks--
    }

    const sweep = () => {
      const time = now()
      for (const [id, task] of tasks) if (task.expires <= time) drop(id, task)
      for (const [key, group] of groups) {
        if (group.tasks > 0 || time - group.seen < IdleTime) continue
        groups.delete(key)
        upstreams.forget(group.session)
      }
    }
    yield* Effect.sync(sweep).pipe(Effect.repeat(Schedule.spaced(SweepTime)), Effect.forkScoped)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const { session } of groups.values()) upstreams.forget(session)
      })
    )

    const groupOf = (key: string, caller: Caller): Group | undefined => {
      const known = groups.get(key)
      if (known !== undefined || groups.size >= MaxGroups) return known
      // Another object for each: it stands for the session.
      const session: CallerSession = { onRequest: hooks.onRequest, onNotification: hooks.onNotification }
      const made: Group = { caller: { ...caller, session }, session, tasks: 0, seen: now() }
      groups.set(key, made)
      return made
    }

    const groupFor = ({ caller }: Client): Group | undefined => {
      if (!Sharing.needsOwn(caller)) return undefined
      const key = Sharing.keyOf(caller)
      return typeof key === "string" ? groupOf(key, caller) : undefined
    }

    const keep = (client: Client, id: string, time: number): void => {
      const known = tasks.get(id)
      const group = known?.group ?? groupFor(client)
      if (group === undefined) return
      if (known !== undefined) drop(id, known)
      tasks.set(id, { group, expires: Math.max(known?.expires ?? 0, now() + time) })
      group.tasks++
      if (tasks.size <= MaxTasks) return
      const oldest = tasks.entries().next()
      if (oldest.done !== true) drop(...oldest.value)
    }

    return {
      of: (client, id) => {
        const group = (id === undefined ? undefined : tasks.get(id)?.group) ?? groupFor(client)
        if (group === undefined) return client.caller
        group.seen = now()
        return group.caller
      },
      begun: (client, id, ttl) =>
        keep(client, id, typeof ttl === "number" ? Math.min(Math.max(ttl, 0), LongestTime) : UnnamedTime),
      seen: (client, id) => keep(client, id, SeenTime)
    }
  })
