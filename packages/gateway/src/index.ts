/** @since 0.1.0 */
export * as About from "./About.ts"

/** @since 0.1.0 */
export * as Api from "./Api.ts"

/** @since 0.1.0 */
export * as Configuration from "./Configuration.ts"

/** @since 0.1.0 */
export * as Gateway from "./Gateway.ts"

/** @since 0.1.0 */
export * as Metrics from "./Metrics.ts"

/** @since 0.1.0 */
export * as ServerEntry from "./ServerEntry.ts"

/** @since 0.1.0 */
export * as Views from "./Views.ts"
