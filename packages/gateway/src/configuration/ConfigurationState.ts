/**
 * What a running gateway knows of its configuration file: when it was last applied, and what is wrong with it now.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Mistake } from "./Configuration.ts"
import type { Setting } from "./ConfigurationChanges.ts"
import type { Validation } from "./Validation.ts"

/**
 * State of the configuration, as a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConfigurationStatus {
  readonly file: string
  /** Epoch ms at which the configuration in use was applied. */
  readonly loadedAt: number
  /** 1 for the configuration of the start; grows each time the file was read again and has no mistakes. */
  readonly revision: number
  /** Why the file as it is now, or a part of it, is not in use: the last good state of what is wrong stays. */
  readonly error?: {
    /** Epoch ms. */
    readonly at: number
    readonly mistakes: ReadonlyArray<Mistake>
  } | undefined
  /** Keys whose new values take effect at the next start. */
  readonly pending: ReadonlyArray<string>
  /** The values in effect, without secrets; of what could not be applied, those of the file. */
  readonly settings: ReadonlyArray<Setting>
}

/**
 * Service that tells the state of the configuration. Where nobody provides it there is no configuration file.
 *
 * @category services
 * @since 0.1.0
 */
export interface ConfigurationState {
  /** Plain. None where the gateway has no configuration file. */
  readonly current: () => ConfigurationStatus | undefined
  /** The state now and after each change; a slow reader gets the newest. */
  readonly changes: Stream.Stream<ConfigurationStatus>
  /** What is told of a text that isn't the configuration yet. Plain; none where there is no configuration file. */
  readonly validate: (text: string) => Validation | undefined
}
export const ConfigurationState: Context.Reference<ConfigurationState> = Context.Reference<ConfigurationState>(
  "@portolan/gateway/configuration/ConfigurationState",
  { defaultValue: () => ({ current: () => undefined, changes: Stream.empty, validate: () => undefined }) }
)

/**
 * A state, and how whoever applies configurations sets it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settable {
  readonly state: ConfigurationState
  readonly set: (status: ConfigurationStatus) => Effect.Effect<void>
}

/**
 * Makes a state. Readers' streams end with the scope. `validate` looks at other texts.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  initial: ConfigurationStatus,
  validate?: (text: string) => Validation
): Effect.Effect<Settable, never, Scope.Scope> =>
  Effect.gen(function*() {
    let current = initial
    const latest = yield* Effect.acquireRelease(
      PubSub.sliding<ConfigurationStatus>({ capacity: 1, replay: 1 }),
      PubSub.shutdown
    )
    yield* PubSub.publish(latest, initial)
    return {
      state: { current: () => current, changes: Stream.fromPubSub(latest), validate: (text) => validate?.(text) },
      set: (status) =>
        Effect.suspend(() => {
          current = status
          return Effect.asVoid(PubSub.publish(latest, status))
        })
    }
  })
