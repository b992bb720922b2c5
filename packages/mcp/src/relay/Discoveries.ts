/**
 * `discovery/discover`: what the fleet offers, filtered, with where it comes from and whether it is available. A method of
 * Portolan's own, beside those of MCP.
 *
 * @since 0.2.0
 */
import type { Part } from "./Method.ts"

/**
 * Makes the part.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (): Part => ({ methods: {} })
