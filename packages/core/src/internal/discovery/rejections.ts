/** Records of a registry that can't be used, one for each id, with the group that they came in. */
import type { Rejected } from "../../Registry.ts"

type Group = string | undefined

export class Rejections {
  private readonly byId = new Map<string, { readonly rejected: Rejected; readonly group: Group }>()
  private all: ReadonlyArray<Rejected> | undefined = []

  /** The same list as before while nothing changed. */
  get list(): ReadonlyArray<Rejected> {
    return this.all ??= Array.from(this.byId.values(), ({ rejected }) => rejected)
  }

  /** Without a group it stays in the one that it was in. */
  add(rejected: Rejected, group: Group): void {
    this.byId.set(rejected.id, { rejected, group: group ?? this.byId.get(rejected.id)?.group })
    this.all = undefined
  }

  remove(id: string): void {
    if (this.byId.delete(id)) this.all = undefined
  }

  removeWhere(isOver: (id: string, group: Group) => boolean): void {
    for (const [id, { group }] of this.byId) if (isOver(id, group)) this.remove(id)
  }
}
