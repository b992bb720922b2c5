/**
 * What is announced, and how it is: instances, services and sources as the gateway's events tell of them, and which of
 * their rows differ from what was told before.
 *
 * **Details**: rows are made when they are taken, so that a hundred events cost one row.
 */
import type { Event, SeriesReport, ServiceFigures } from "../api/types.ts"
import { Counter } from "./counter.ts"
import { Differences } from "./difference.ts"
import { type Announced, type Identity, instanceRow, isAnnounced, keyOf, type Known } from "./instanceRow.ts"
import type { Frame, InstanceRow, ServiceRow, SourceRow } from "./rows.ts"
import { serviceRow, type Standing, standingOf } from "./serviceRow.ts"
import { sourceRow } from "./sourceRow.ts"

type Data<Name extends Event["event"]> = Extract<Event, { readonly event: Name }>["data"]
type Figures = Pick<Data<"figures">, "rows" | "removed">

interface Service {
  /** Keys of its instances. */
  readonly members: Set<string>
  figures: ServiceFigures | undefined
  counter: Counter
  /** None: to be made anew. */
  standing: Standing | undefined
  row: ServiceRow | undefined
}

/** Instances of which nothing but figures moved that go into one frame: pages apply frames between two of their own. */
const mostFigures = 250

export class Catalog {
  readonly #instances = new Map<string, Known>()
  readonly #services = new Map<string, Service>()
  readonly #sources = new Map<string, SourceRow>()

  readonly #told = { instances: new Set<string>(), services: new Set<string>(), sources: new Set<string>() }
  readonly #changed = new Set<string>()
  /** Those of which only figures moved wait for room, the oldest first. */
  readonly #moved = new Set<string>()
  readonly #changedServices = new Set<string>()
  readonly #changedSources = new Set<string>()

  /** Something is to be told that people wait for, not only figures. */
  get urgent(): boolean {
    return this.#changed.size + this.#changedSources.size > 0
  }

  get stirred(): boolean {
    return this.urgent || this.#moved.size + this.#changedServices.size > 0
  }

  /** Replaces everything. `anew`: counts began anew too. */
  snapshot({ catalog = [], figures, sources = [] }: Data<"snapshot">, now: number, anew: boolean): void {
    const gone = new Set(this.#sources.keys())
    for (const source of sources) gone.delete(source.name)
    this.sources({ changed: sources, removed: Array.from(gone) })
    const announced = new Set(catalog.map(keyOf))
    for (const [key, known] of this.#instances) {
      if (!announced.has(key)) this.#leave(key, known)
    }
    for (const counted of [...this.#instances.values(), ...this.#services.values()]) {
      counted.figures = undefined
      if (anew) counted.counter = new Counter()
    }
    for (const instance of catalog) this.#announce(instance)
    this.figures(figures ?? { rows: [] }, now, true)
    for (const name of this.#services.keys()) this.#end(name)
  }

  changes({ changes }: Pick<Data<"catalog">, "changes">): void {
    for (const change of changes) {
      if (change.type !== "removed") this.#announce(change.instance)
      else {
        const key = keyOf(change)
        const known = this.#instances.get(key)
        if (known !== undefined) this.#leave(key, known)
      }
    }
  }

  health({ changes }: Pick<Data<"health">, "changes">): void {
    for (const { health, id, source } of changes) {
      const key = keyOf({ id, source })
      const known = this.#instances.get(key)
      if (known === undefined || !isAnnounced(known)) continue
      known.health = health
      this.#touch(key, known)
    }
  }

  /** `even`: the first in a while. */
  figures({ removed = [], rows }: Figures, now: number, even: boolean): void {
    for (const row of rows) {
      if (row.type === "service") {
        const service = this.#service(row.service)
        service.figures = row
        service.counter.add(now, row.calls, row.failures, even)
        this.#changedServices.add(row.service)
      } else {
        const known = this.#instance(row)
        known.figures = row
        known.counter.add(now, row.calls, row.failures, even)
        this.#moved.add(keyOf(row))
      }
    }
    for (const row of removed) {
      if (row.type === "service") {
        this.#service(row.service).figures = undefined
        this.#end(row.service)
      } else {
        const known = this.#instances.get(keyOf(row))
        if (known === undefined || isAnnounced(known)) continue
        this.#instances.delete(keyOf(row))
        this.#moved.delete(keyOf(row))
      }
    }
  }

  /** Takes what was counted of services before they were known. */
  seed({ services, step, times }: SeriesReport): void {
    const ends = times.map((time) => time * 1000)
    for (const { calls, failures, service } of services) {
      this.#services.get(service)?.counter.seed(step * 1000, ends, calls, failures)
      this.#changedServices.add(service)
    }
  }

  sources({ changed, removed }: Pick<Data<"sources">, "changed" | "removed">): void {
    for (const source of changed) {
      this.#sources.set(source.name, sourceRow(source))
      this.#changedSources.add(source.name)
    }
    for (const name of removed) {
      this.#sources.delete(name)
      this.#changedSources.add(name)
    }
    // Whether they are stale follows from their source.
    const names = new Set([...changed.map(({ name }) => name), ...removed])
    if (names.size === 0) return
    for (const [key, known] of this.#instances) {
      if (isAnnounced(known) && names.has(known.view.source)) this.#touch(key, known)
    }
  }

  /** When a source was last heard moves all the time, and is told apart. */
  heard(name: string, at: number): void {
    const source = this.#sources.get(name)
    if (source === undefined || source.lastHeard === at) return
    this.#sources.set(name, { ...source, lastHeard: at })
    this.#changedSources.add(name)
  }

  /** What time alone changes: rates fall when calls stop, and who is ejected comes back. */
  tick(now: number): void {
    for (const [key, { counter, row }] of this.#instances) {
      if (row === undefined || !counter.moves(now)) continue
      if (row.rate !== counter.rate(now) || row.failed !== counter.failed(now)) this.#moved.add(key)
    }
    for (const [name, { counter, row }] of this.#services) {
      if (row !== undefined && (counter.moves(now) || row.states.ejected > 0)) this.#changedServices.add(name)
    }
  }

  /** What differs since the last time. */
  take(now: number): Pick<Frame, "instances" | "services" | "sources"> {
    const instances = new Differences<InstanceRow>(this.#told.instances)
    const tell = (key: string) => {
      this.#moved.delete(key)
      const known = this.#instances.get(key)
      if (known === undefined || !isAnnounced(known)) return instances.leave(key)
      const row = instanceRow(known, this.#sources.get(known.view.source), now)
      instances.tell(key, known.row, row)
      known.row = row
    }
    for (const key of this.#changed) tell(key)
    this.#changed.clear()
    for (const key of Array.from(this.#moved).slice(0, mostFigures)) tell(key)

    const services = new Differences<ServiceRow>(this.#told.services)
    for (const name of this.#changedServices) {
      const service = this.#services.get(name)
      if (service === undefined || service.members.size === 0) {
        services.leave(name)
        if (service !== undefined) service.row = undefined
        continue
      }
      service.standing ??= standingOf(name, this.#rowsOf(service))
      const row = serviceRow(service.standing, service.figures, service.counter, now)
      services.tell(name, service.row, row)
      service.row = row
    }
    this.#changedServices.clear()

    const sources = new Differences<SourceRow>(this.#told.sources)
    for (const name of this.#changedSources) {
      const source = this.#sources.get(name)
      if (source === undefined) sources.leave(name)
      else sources.tell(name, undefined, source)
    }
    this.#changedSources.clear()
    return { instances: instances.all(), services: services.all(), sources: sources.all() }
  }

  /** Everything, as it was last taken. */
  whole(): Pick<Frame, "services" | "sources"> & { readonly instances: ReadonlyArray<InstanceRow> } {
    const instances = Array.from(this.#instances.values())
    return {
      instances: instances.flatMap(({ row, view }) => row === undefined || view === undefined ? [] : [row]),
      services: { rows: this.services() },
      sources: { rows: Array.from(this.#sources.values()) }
    }
  }

  /** Rows of the services, as they were last taken. */
  services(): ReadonlyArray<ServiceRow> {
    return Array.from(this.#services.values()).flatMap(({ members, row }) =>
      members.size === 0 || row === undefined ? [] : [row]
    )
  }

  #instance(identity: Identity): Known {
    const key = keyOf(identity)
    let known = this.#instances.get(key)
    if (known === undefined) {
      known = {
        view: undefined,
        health: undefined,
        figures: undefined,
        counter: new Counter(),
        standing: undefined,
        row: undefined
      }
      this.#instances.set(key, known)
    }
    return known
  }

  #service(name: string): Service {
    let service = this.#services.get(name)
    if (service === undefined) {
      service = { members: new Set(), figures: undefined, counter: new Counter(), standing: undefined, row: undefined }
      this.#services.set(name, service)
    }
    return service
  }

  #announce(view: Announced["view"]): void {
    const key = keyOf(view)
    const known = this.#instance(view)
    if (known.view !== undefined && known.view.service !== view.service) this.#part(key, known.view.service)
    known.view = view
    known.health = view.health
    this.#service(view.service).members.add(key)
    this.#touch(key, known)
  }

  #leave(key: string, known: Known): void {
    this.#instances.delete(key)
    this.#moved.delete(key)
    leave(key, this.#told.instances, this.#changed)
    if (isAnnounced(known)) this.#part(key, known.view.service)
  }

  #part(key: string, name: string): void {
    this.#stir(name)
    this.#services.get(name)?.members.delete(key)
    this.#end(name)
  }

  /** What a service counted outlasts its instances, for a while. */
  #end(name: string): void {
    const service = this.#services.get(name)
    if (service?.members.size !== 0 || service.figures !== undefined) return
    this.#services.delete(name)
    leave(name, this.#told.services, this.#changedServices)
  }

  #touch(key: string, known: Known): void {
    this.#changed.add(key)
    known.standing = undefined
    if (known.view !== undefined) this.#stir(known.view.service)
  }

  #stir(name: string): void {
    this.#changedServices.add(name)
    const service = this.#services.get(name)
    if (service !== undefined) service.standing = undefined
  }

  #rowsOf({ members }: Service): ReadonlyArray<InstanceRow> {
    return Array.from(members).flatMap((key) => this.#instances.get(key)?.row ?? [])
  }
}

/** What comes and goes without being told, while nobody looks, leaves nothing behind. */
const leave = (key: string, told: ReadonlySet<string>, changed: Set<string>): void => {
  if (told.has(key)) changed.add(key)
  else changed.delete(key)
}
