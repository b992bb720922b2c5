/**
 * What changes among the announced instances, one by one.
 *
 * @since 0.1.0
 */
import * as Catalog from "@portolan/core/Catalog"
import type { Discovery } from "@portolan/core/Discovery"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Stream from "effect/Stream"

/**
 * A change of what is announced.
 *
 * @category models
 * @since 0.1.0
 */
export interface InstanceChange {
  readonly type: "added" | "updated" | "removed"
  readonly instance: ServiceInstance
  /** The registry that announces it. */
  readonly source: string
}

const changeOf = ({ _tag, entry: { instance, source } }: Catalog.CatalogChange): InstanceChange => ({
  type: _tag === "Added" ? "added" : _tag === "Updated" ? "updated" : "removed",
  instance,
  source
})

/**
 * All changes since a catalog, however late the stream is begun.
 *
 * @category streams
 * @since 0.1.0
 */
export const since = (discovery: Discovery["Service"], catalog: Catalog.Catalog): Stream.Stream<InstanceChange> =>
  discovery.updates.pipe(
    Stream.mapAccum(() => true, (first, update) => [
      false,
      (first ? Catalog.diff(catalog, update.catalog) : update.changes).map(changeOf)
    ])
  )
