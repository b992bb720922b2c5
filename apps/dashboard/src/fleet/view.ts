/**
 * What a page knows of the fleet: frames applied in order. A view is never changed; what a frame doesn't speak of is the
 * same object in the next one.
 */
import type { StatusView } from "../api/types.ts"
import { isSame } from "./difference.ts"
import { RowList } from "./rowList.ts"
import type { CallerRow, ChangeRow, Frame, InstanceRow, RowChanges, ServiceRow, SourceRow, Totals } from "./rows.ts"
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
const withCells = (view: View, changes: RowChanges<ServiceRow>): RowChanges<ServiceRow> => ({
  ...changes,
  differ: changes.differ?.map(({ fields, key }) => {
    const before = view.services.get(key)?.cells
    if (before === undefined || fields.cells === undefined) return { key, fields }
    const cells = fields.cells.map((cell) => {
      const other = before.find(({ region }) => region === cell.region)
      return other !== undefined && isSame(other, cell) ? other : cell
    })
    return { key, fields: { ...fields, cells } }
  }) ?? []
})

/** At most so many rows that differ at once; what came and what is gone with the first of them. */
const inParts = <Row>(changes: RowChanges<Row> = {}, most: number): ReadonlyArray<RowChanges<Row>> => {
  const { differ = [] } = changes
  const parts = [{ ...changes, differ: differ.slice(0, most) }]
  for (let at = most; at < differ.length; at += most) parts.push({ differ: differ.slice(at, at + most) })
  return parts
}

type Step = (view: View) => View

/** What a frame says, in steps that are short, each of which can be done apart: the view is that of the frame after the last. */
export const stepsOf = (frame: Frame): ReadonlyArray<Step> => [
  ...frame.whole ? [(): View => empty] : [],
  ...inParts(frame.instances, 64).map((changes): Step => (view) => ({
    ...view,
    instances: view.instances.with(changes)
  })),
  ...inParts(frame.services, 16).map((changes): Step => (view) => ({
    ...view,
    services: view.services.with(withCells(view, changes))
  })),
  (view) => ({
    ...view,
    ready: frame.whole ? frame.more !== true : view.ready || frame.more === false,
    sources: view.sources.with(frame.sources),
    callers: frame.callers ?? view.callers,
    changes: frame.changes === undefined ? view.changes : [...frame.changes, ...view.changes].slice(0, mostChanges),
    regions: frame.regions ?? view.regions,
    totals: frame.totals ?? view.totals,
    status: frame.status ?? view.status
  })
]

export const withFrame = (view: View, frame: Frame): View => stepsOf(frame).reduce((view, step) => step(view), view)
