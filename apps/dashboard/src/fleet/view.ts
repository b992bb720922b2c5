/**
 * What a page knows of the fleet: frames applied in order. A view is never changed; what a frame doesn't speak of is the
 * same object in the next one.
 */
import type { StatusView } from "../api/types.ts"
import { isSame } from "./difference.ts"
import { RowList } from "./rowList.ts"
import type { CallerRow, ChangeRow, Frame, InstanceRow, ServiceRow, SourceRow, Totals } from "./rows.ts"
import { byText } from "./serviceRow.ts"

export interface View {
  /** Whether a whole frame was applied, with all of its parts. */
  readonly ready: boolean
  /** By service, id and source. */
  readonly instances: RowList<InstanceRow>
  readonly services: RowList<ServiceRow>
  readonly sources: RowList<SourceRow>
  readonly callers: ReadonlyArray<CallerRow>
  readonly changes: ReadonlyArray<ChangeRow>
  readonly regions: ReadonlyArray<string>
  readonly totals: Totals | undefined
  readonly status: StatusView | undefined
}

const mostChanges = 200

const byName = (a: { readonly name: string }, b: { readonly name: string }) => byText(a.name, b.name)

export const empty: View = {
  ready: false,
  instances: new RowList(
    ({ key }) => key,
    (a, b) => byText(a.service, b.service) || byText(a.id, b.id) || byText(a.source, b.source)
  ),
  services: new RowList<ServiceRow>(({ name }) => name, byName),
  sources: new RowList<SourceRow>(({ name }) => name, byName),
  callers: [],
  changes: [],
  regions: [],
  totals: undefined,
  status: undefined
}

/** The cells of a service come together: those that don't differ stay the same objects. */
const withCells = (view: View, changes: Frame["services"]): Frame["services"] =>
  changes === undefined ? undefined : {
    ...changes,
    differ: changes.differ?.map(({ fields, key }) => {
      const before = view.services.get(key)?.cells
      if (before === undefined || fields.cells === undefined) return { key, fields }
      const cells = fields.cells.map((cell) => before.find((other) => isSame(other, cell)) ?? cell)
      return { key, fields: { ...fields, cells } }
    }) ?? []
  }

/** With what the frame says of instances: the longest part, and by itself, so that it can be done apart. */
export const withInstances = (view: View, { instances, whole }: Frame): View => ({
  ...view,
  instances: (whole ? empty : view).instances.with(instances)
})

/** With what the frame says of all else. */
export const withOthers = (view: View, frame: Frame): View => {
  const before = frame.whole ? { ...empty, instances: view.instances } : view
  return {
    ready: frame.whole ? frame.more !== true : view.ready || frame.more === false,
    instances: view.instances,
    services: before.services.with(withCells(before, frame.services)),
    sources: before.sources.with(frame.sources),
    callers: frame.callers ?? before.callers,
    changes: frame.changes === undefined ? before.changes : [...frame.changes, ...before.changes].slice(0, mostChanges),
    regions: frame.regions ?? before.regions,
    totals: frame.totals ?? before.totals,
    status: frame.status ?? before.status
  }
}

export const withFrame = (view: View, frame: Frame): View => withOthers(withInstances(view, frame), frame)
