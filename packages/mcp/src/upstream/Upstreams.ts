/**
 * The upstreams of all announced MCP servers: opened as instances are announced, closed when they go.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import * as Context from "effect/Context"
import type * as Stream from "effect/Stream"
import type { JsonRpcNotification } from "../JsonRpc.ts"
import type { ServerProfile, Upstream } from "./Upstream.ts"

/**
 * What happens to upstreams.
 *
 * - `Opened`: announced (not yet connected).
 * - `Connected`: connected, or connected again: its lists may differ.
 * - `Failed`: could not be connected, or was lost. Its lists stay as they were; it is tried again by itself.
 * - `Notified`: sent a notification that belongs to no request (`notifications/tools/list_changed`, a log message).
 * - `Closed`: no longer announced.
 *
 * @category models
 * @since 0.1.0
 */
export type UpstreamEvent =
  | { readonly _tag: "Opened"; readonly upstream: Upstream }
  | { readonly _tag: "Connected"; readonly upstream: Upstream; readonly profile: ServerProfile }
  | { readonly _tag: "Failed"; readonly upstream: Upstream; readonly reason: string }
  | { readonly _tag: "Notified"; readonly upstream: Upstream; readonly notification: JsonRpcNotification }
  | { readonly _tag: "Closed"; readonly key: InstanceKey }

/**
 * Service that holds the upstreams.
 *
 * @category services
 * @since 0.1.0
 */
export class Upstreams extends Context.Service<Upstreams, {
  /** Plain. */
  readonly get: (key: InstanceKey) => Upstream | undefined
  /** Plain. */
  readonly all: () => ReadonlyArray<Upstream>
  /** Begins with `Opened` (and `Connected`) for those there are; then events as they come. Loses none. */
  readonly events: Stream.Stream<UpstreamEvent>
}>()("@portolan/mcp/upstream/Upstreams") {}
