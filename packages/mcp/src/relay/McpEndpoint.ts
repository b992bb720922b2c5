/**
 * `/mcp`: streamable HTTP for clients of both eras.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { IncomingMessage, ServerResponse } from "node:http"

/**
 * Figures of the endpoint. Plain counters.
 *
 * @category models
 * @since 0.1.0
 */
export interface EndpointFigures {
  readonly sessions: number
  readonly streams: number
  readonly callsInFlight: number
  readonly calls: number
  readonly failedCalls: number
}

/**
 * Service that answers `/mcp`.
 *
 * **Gotchas**: the handler reads the body itself. Host and Origin are checked by the listener that calls it.
 *
 * @category services
 * @since 0.1.0
 */
export class McpEndpoint extends Context.Service<McpEndpoint, {
  /** Node's request handler; plain, and answers every request in the end. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void
  readonly figures: () => EndpointFigures
  /** Refuses new calls, waits for the ones in flight, ends the streams gracefully. */
  readonly drain: Effect.Effect<void>
}>()("@portolan/mcp/relay/McpEndpoint") {}
