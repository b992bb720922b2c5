import type * as Clock from "effect/Clock"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Balancer } from "../../Balancer.ts"
import type { Discovery } from "../../Discovery.ts"
import type { Health } from "../../Health.ts"
import type { Admission } from "./admission.ts"
import type { CallReport } from "./callReport.ts"
import type { AllServiceCalls } from "./serviceCalls.ts"
import type { Settings } from "./settings.ts"
import type { Timers } from "./timers.ts"

/**
 * What all calls of a router share.
 *
 * @internal
 */
export interface Routes {
  readonly discovery: Discovery["Service"]
  readonly health: Health["Service"]
  readonly balancer: Balancer["Service"]
  readonly clock: Clock.Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Where attempts end that outlive their call. */
  readonly scope: Scope.Scope
  /** Runs something in that scope. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly timers: Timers
  readonly admission: Admission
  readonly report: CallReport
  readonly services: AllServiceCalls
  settings: Settings
}
