/**
 * Tasks of both eras: those of version 2025-11-25, and the extension `io.modelcontextprotocol/tasks` of the stateless era.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks
 * @see https://modelcontextprotocol.io/extensions/tasks/overview
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
