/**
 * The laws that every registry keeps, as a function that registers tests.
 *
 * **When to use**
 *
 * Use in the tests of an adapter, against the real backend. What the adapter can't do is said in `lacks` and printed
 * with the laws that are left out for it; nothing is skipped silently.
 *
 * **Example** (The laws for an adapter)
 *
 * ```ts
 * RegistryLaws.suite("listing", ListingRegistry.make({ url, every: "1 second" }), {
 *   controls: {
 *     add: (instance) => server.put(instance),
 *     update: (instance) => server.put(instance),
 *     remove: (instance) => server.delete(instance.id)
 *   },
 *   lacks: ["lease", "order", "push"]
 * })
 * ```
 *
 * @since 0.1.0
 */
import { describe, it } from "@effect/vitest"
import * as Discovery from "@portolan/core/Discovery"
import type * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Announcing from "./laws/Announcing.ts"
import * as Law from "./laws/Law.ts"
import * as Leases from "./laws/Leases.ts"
import * as Model from "./laws/Model.ts"
import * as Outage from "./laws/Outage.ts"
import * as Pressure from "./laws/Pressure.ts"
import * as Reading from "./laws/Reading.ts"

export type { Controls, Lack, Law, Sizes, Times } from "./laws/Law.ts"

/**
 * Error raised when a registry breaks a law: which law, how, and the seed that replays it.
 *
 * @category errors
 * @since 0.1.0
 */
export class LawBroken extends Schema.TaggedError<LawBroken>()("LawBroken", {
  registry: Schema.String,
  law: Schema.String,
  title: Schema.String,
  reason: Schema.String,
  seed: Schema.Int
}) {
  override get message(): string {
    return `${this.registry} breaks ${this.law} (${this.title}): ${this.reason}\nreplay with PORTOLAN_SEED=${this.seed}`
  }
}

/**
 * How the laws are run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<C extends Law.Controls = Law.Controls> {
  /** What can be done to the backend; an effect makes a new backend for each law. */
  readonly controls: C | Effect.Effect<C, unknown, Scope.Scope>
  readonly lacks?: ReadonlyArray<Law.Lack> | undefined
  readonly times?: Partial<Law.Times> | undefined
  readonly sizes?: Partial<Law.Sizes> | undefined
  /** Chooses the random runs; default the environment's `PORTOLAN_SEED`, else a new one. */
  readonly seed?: number | undefined
  /** What runs the registry; default core's `Discovery`. For tests of the laws themselves. */
  readonly discovery?: typeof Discovery.layer | undefined
  /** Makes the nth test record where the backend has a form of its own for ids. Keep `metadata.seq` of `base`. */
  readonly instance?:
    | ((n: number, base: ServiceInstance.ServiceInstance) => ServiceInstance.ServiceInstance)
    | undefined
}

/**
 * Makes the registry under test. A function gets the controls of the law's backend.
 *
 * @category models
 * @since 0.1.0
 */
export type Make<C extends Law.Controls = Law.Controls> =
  | Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope>
  | ((controls: C) => Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope>)

/**
 * All laws, in order.
 *
 * @category laws
 * @since 0.1.0
 */
export const laws: ReadonlyArray<Law.Law> = [
  ...Reading.laws,
  ...Outage.laws,
  ...Pressure.laws,
  ...Leases.laws,
  ...Announcing.laws,
  ...Model.laws
].sort((self, that) => self.id.localeCompare(that.id, "en", { numeric: true }))

/**
 * Why a law is left out: the lacks and missing controls it needs; empty when it applies.
 *
 * @category laws
 * @since 0.1.0
 */
export const leftOut = (
  law: Law.Law,
  controls: Law.Controls,
  lacks: ReadonlyArray<Law.Lack> = []
): ReadonlyArray<string> =>
  law.needs.filter((need) => lacks.includes(need) || (!isAbility(need) && controls[need] === undefined))

const abilities: ReadonlyArray<Law.Lack> = ["lease", "order", "wipe", "push"]
const isAbility = (lack: Law.Lack): lack is Exclude<Law.Lack, keyof Law.Controls> => abilities.includes(lack)

/**
 * Checks one law, as a plain effect.
 *
 * @category laws
 * @since 0.1.0
 */
export const check = Effect.fnUntraced(function*<C extends Law.Controls>(
  law: Law.Law,
  name: string,
  make: Make<C>,
  options: Options<C>
): Effect.fn.Return<void, LawBroken, Scope.Scope> {
  const seed = options.seed ?? (yield* chooseSeed)
  const broken = (reason: string) => new LawBroken({ registry: name, law: law.id, title: law.title, reason, seed })
  const controls = Effect.isEffect(options.controls)
    ? yield* Effect.mapError(options.controls, (cause) => broken(`the backend can't be made: ${tell(cause)}`))
    : options.controls
  const bench = yield* Effect.mapError(openBench(make, controls, options, seed), (error) => broken(error.reason))
  yield* law.run(bench).pipe(
    // That a backend is lost is what the laws are about, no news.
    Effect.provideService(References.MinimumLogLevel, "Error"),
    Effect.mapError((error) => broken(error.reason)),
    // A defect names the seed too.
    Effect.catchDefect((defect) => Effect.fail(broken(`the law died: ${tell(defect)}`)))
  )
})

/**
 * Registers a test for each law. First it prints what the adapter lacks, and which laws are left out for it.
 *
 * @category laws
 * @since 0.1.0
 */
export const suite = <C extends Law.Controls>(
  name: string,
  make: Make<C>,
  options: Options<C> & {
    /** Controls that the backend will offer, where `controls` is an effect and so isn't known yet. Default: all. */
    readonly offers?: ReadonlyArray<keyof Law.Controls> | undefined
    /** Ceiling of a law. Default 60 s. */
    readonly timeout?: Duration.Input | undefined
  }
): void => {
  const seed = options.seed ?? Effect.runSync(chooseSeed)
  const timeout = Duration.toMillis(options.timeout ?? "60 seconds")
  const lacks = options.lacks ?? []
  const offered = Effect.isEffect(options.controls) ? undefined : options.controls
  const missing = (law: Law.Law): ReadonlyArray<string> =>
    offered !== undefined
      ? leftOut(law, offered, lacks)
      : law.needs.filter((need) =>
        lacks.includes(need) ||
        (!isAbility(need) && options.offers !== undefined && !options.offers.includes(need))
      )
  console.log(describeGaps(name, lacks, laws.map((law) => ({ law, missing: missing(law) }))))
  describe(`laws of ${name}`, () => {
    for (const law of laws) {
      const gaps = missing(law)
      if (gaps.length > 0) it.skip(`${law.id} ${law.title} [left out: lacks ${gaps.join(", ")}]`, () => undefined)
      else it.live(`${law.id} ${law.title}`, () => check(law, name, make, { ...options, seed }), timeout)
    }
  })
}

const describeGaps = (
  name: string,
  lacks: ReadonlyArray<Law.Lack>,
  entries: ReadonlyArray<{ readonly law: Law.Law; readonly missing: ReadonlyArray<string> }>
): string => {
  const out = entries.filter(({ missing }) => missing.length > 0)
    .map(({ law, missing }) => `${law.id} (${missing.join(", ")})`)
  return `laws of ${name}: lacks ${lacks.join(", ") || "nothing"}; ${
    out.length === 0 ? "no law is left out" : `${out.length} of ${entries.length} laws left out: ${out.join(", ")}`
  }`
}

const chooseSeed = Effect.suspend(() => {
  const given = Number(process.env["PORTOLAN_SEED"])
  return process.env["PORTOLAN_SEED"] !== undefined && Number.isSafeInteger(given)
    ? Effect.succeed(given)
    : Random.nextIntBetween(1, 2 ** 31 - 1)
})

const tell = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/** What undoes what, when a law ends in the middle. */
const undoes = {
  stopBackend: "startBackend",
  pauseConnections: "resumeConnections",
  revoke: "grant",
  garble: "ungarble"
} as const

const openBench = Effect.fnUntraced(function*<C extends Law.Controls>(
  make: Make<C>,
  controls: C,
  options: Options<C>,
  seed: number
): Effect.fn.Return<Law.Bench, Law.Broken, Scope.Scope> {
  const lacks = options.lacks ?? []
  const written = new Map<string, ServiceInstance.ServiceInstance>()
  const undone = new Set<keyof Law.Controls>()

  const run = <A>(control: keyof Law.Controls, effect: Effect.Effect<A, unknown> | undefined) =>
    effect === undefined
      ? Effect.fail(new Law.Broken({ reason: `the control ${control} isn't offered` }))
      : Effect.mapError(effect, (cause) => new Law.Broken({ reason: `the control ${control} failed: ${tell(cause)}` }))

  const breaks = (control: keyof typeof undoes) =>
    Effect.suspend(() => {
      undone.add(undoes[control])
      return run(control, controls[control])
    })

  const heals = (control: (typeof undoes)[keyof typeof undoes]) =>
    Effect.suspend(() => Effect.tap(run(control, controls[control]), () => Effect.sync(() => undone.delete(control))))

  const writes = (
    control: "add" | "update" | "corrupt" | "outside",
    instance: ServiceInstance.ServiceInstance
  ) =>
    Effect.suspend(() => {
      written.set(instance.id, instance)
      return run(control, controls[control]?.(instance))
    })

  const benchControls: Law.BenchControls = {
    add: (instance) => writes("add", instance),
    update: (instance) => writes("update", instance),
    remove: (instance) =>
      Effect.tap(run("remove", controls.remove(instance)), () => Effect.sync(() => written.delete(instance.id))),
    batch: (instances) =>
      Effect.suspend(() => {
        for (const instance of instances) written.set(instance.id, instance)
        return run("batch", controls.batch?.(instances))
      }),
    corrupt: (instance) => writes("corrupt", instance),
    outside: (instance) => writes("outside", instance),
    garble: breaks("garble"),
    ungarble: heals("ungarble"),
    wipeBackend: Effect.tap(run("wipeBackend", controls.wipeBackend), () => Effect.sync(() => written.clear())),
    stopBackend: breaks("stopBackend"),
    startBackend: heals("startBackend"),
    restartBackend: run("restartBackend", controls.restartBackend),
    cutConnections: run("cutConnections", controls.cutConnections),
    pauseConnections: breaks("pauseConnections"),
    resumeConnections: heals("resumeConnections"),
    revoke: breaks("revoke"),
    grant: heals("grant"),
    slowWrites: (time) => run("slowWrites", controls.slowWrites?.(time)),
    open: run("open", controls.open),
    requests: run("requests", controls.requests),
    now: run("now", controls.now)
  }

  const has = (control: keyof Law.Controls) => controls[control] !== undefined && !lacks.includes(control)

  // Each law begins with an empty backend and leaves one behind, whatever happened in it.
  if (has("wipeBackend")) yield* benchControls.wipeBackend
  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      for (const control of undone) yield* run(control, undoing(controls, control))
      yield* Effect.forEach(Array.from(written.values()), (instance) => Effect.exit(benchControls.remove(instance)), {
        discard: true
      })
    }).pipe(Effect.catchCause((cause) => Effect.logWarning("the backend was not left as it was", Cause.pretty(cause))))
  )

  // What the registry under test announces is cleaned up like what its neighbours wrote.
  const noted = (registry: Registry.Registry): Registry.Registry => ({
    ...registry,
    registrar: Option.map(registry.registrar, (registrar) => ({
      ...registrar,
      put: (instance, lease) =>
        Effect.suspend(() => {
          written.set(instance.id, instance)
          return registrar.put(instance, lease)
        })
    }))
  })

  const millis = (time: keyof Law.Times) => Duration.toMillis(options.times?.[time] ?? Law.defaultTimes[time])
  return {
    registry: (typeof make === "function" ? make(controls) : make).pipe(
      Effect.map(noted),
      Effect.mapError((error) => new Law.Broken({ reason: `the registry can't be made: ${error.message}` }))
    ),
    controls: benchControls,
    has,
    discovery: options.discovery ?? Discovery.layer,
    times: {
      visible: millis("visible"),
      outage: millis("outage"),
      grace: millis("grace"),
      idle: millis("idle"),
      debounce: millis("debounce"),
      damping: millis("damping"),
      ttl: millis("ttl"),
      lapse: millis("lapse"),
      slack: millis("slack"),
      quiet: millis("quiet"),
      cancel: millis("cancel"),
      drain: millis("drain"),
      shutdown: millis("shutdown")
    },
    sizes: { ...Law.defaultSizes, ...options.sizes },
    seed,
    instance: (n, seq = 0, service = "lawful") => {
      const base = ServiceInstance.make({
        id: `${service}-${n}`,
        service,
        version: "1.0.0",
        endpoint: { transport: "streamable-http", url: `http://127.0.0.1:${20000 + n}/mcp` },
        metadata: { seq: String(seq) }
      })
      return options.instance === undefined ? base : options.instance(n, base)
    }
  }
})

const undoing = (controls: Law.Controls, control: keyof Law.Controls): Effect.Effect<void, unknown> | undefined => {
  switch (control) {
    case "startBackend":
    case "resumeConnections":
    case "grant":
    case "ungarble":
      return controls[control]
    default:
      return undefined
  }
}
