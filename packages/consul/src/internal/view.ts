/** What a watching session of the key-value store saw last, so that nothing is decoded twice and nothing goes unnoticed. */
import type * as RecordFormat from "@portolan/core/RecordFormat"
import * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"
import type { ConsulError } from "../Consul.ts"

// A folder has no value.
export const Entries = Schema.Array(Schema.Struct({
  Key: Schema.String,
  Value: Schema.NullOr(Schema.String),
  ModifyIndex: Schema.Int,
  Session: Schema.optionalKey(Schema.String)
}))
type Entry = (typeof Entries.Type)[number]

/** An entry as it was seen, and what it was read as. */
interface Held {
  readonly entry: Entry
  readonly read: Result.Result<ServiceInstance, string>
}

/** What has to be asked about what isn't there any more. */
interface Questions {
  /** Whether a session is still alive. */
  readonly lives: (session: string) => Effect.Effect<boolean, ConsulError>
  /** Fails where the key may not be read: Consul leaves such keys out without a word. */
  readonly mayRead: (key: string) => Effect.Effect<unknown, ConsulError>
}

/** Sessions asked about at the same time. */
const concurrency = 8

export class View {
  private readonly prefix: string
  private readonly format: RecordFormat.RecordFormat
  private readonly questions: Questions
  private held: ReadonlyMap<string, Held> | undefined
  private expired: ReadonlyArray<string> = []
  /** Everything written up to here was in the answer that was taken last. */
  private index = 0
  private trusted = true

  constructor(prefix: string, format: RecordFormat.RecordFormat, questions: Questions) {
    this.prefix = prefix
    this.format = format
    this.questions = questions
  }

  /** The index went back: what is missing in the next answer may have been lost with a restored store. */
  mistrust(): void {
    this.trusted = false
  }

  /**
   * Whether Consul lost data since another view: an entry is from before what that view heard last, and it never saw it.
   * The index itself proves nothing.
   */
  contradicts(before: View): boolean {
    return Array.from(this.held ?? []).some(([id, { entry }]) =>
      entry.ModifyIndex <= before.index && before.held?.get(id)?.entry.ModifyIndex !== entry.ModifyIndex
    )
  }

  /** Takes everything there is at an index; whether that is something else than before. */
  take(entries: ReadonlyArray<Entry>, index: number): Effect.Effect<boolean, ConsulError> {
    return Effect.gen({ self: this }, function*() {
      const before = this.held ?? new Map<string, Held>()
      const held = new Map<string, Held>()
      let changed = this.held === undefined
      // The last written wins where two keys hold the same id: an instance may move to another service.
      for (const entry of entries.toSorted((self, that) => self.ModifyIndex - that.ModifyIndex)) {
        if (entry.Key.endsWith("/") && (entry.Value ?? "") === "") continue
        const place = placeOf(this.prefix, entry.Key)
        const known = before.get(place.id)
        if (known?.entry.Key === entry.Key && known.entry.Value === entry.Value) {
          // What stays is kept as it was: a new copy of everything with each change would be the collector's to move.
          const same = known.entry.ModifyIndex === entry.ModifyIndex && known.entry.Session === entry.Session
          held.set(place.id, same ? known : { entry, read: known.read })
          continue
        }
        changed = true
        const text = Buffer.from(entry.Value ?? "", "base64").toString("utf8")
        held.set(place.id, { entry, read: yield* Effect.result(this.format.read(text, place)) })
      }
      const gone = Array.from(before).filter(([id]) => !held.has(id))
      const missing = gone[0]?.[1].entry.Key ?? (changed && held.size === 0 ? this.prefix : undefined)
      if (missing !== undefined) yield* this.questions.mayRead(missing)
      const expired = yield* Effect.filter(gone, ([, { entry }]) => this.ranOut(entry), { concurrency })
      this.held = held
      this.expired = expired.map(([id]) => id)
      this.index = index
      this.trusted = true
      return changed || gone.length > 0
    })
  }

  /** What was taken last. */
  get snapshot(): Registry.Snapshot {
    const instances: Array<ServiceInstance> = []
    const rejected: Array<Registry.Rejected> = []
    for (const [id, { read }] of this.held ?? []) {
      if (Result.isSuccess(read)) instances.push(read.success)
      else rejected.push({ id, reason: read.failure })
    }
    return { ...Registry.snapshot(instances, rejected), expired: this.expired }
  }

  private ranOut({ Session }: Entry): Effect.Effect<boolean, ConsulError> {
    if (!this.trusted) return Effect.succeed(true)
    return Session === undefined ? Effect.succeed(false) : Effect.map(this.questions.lives(Session), (lives) => !lives)
  }
}

/** A key of one part under the prefix names no service. */
const placeOf = (prefix: string, key: string): RecordFormat.Place => {
  const [first = "", ...rest] = key.slice(prefix.length).split("/")
  return rest.length === 0 ? { id: first } : { service: first, id: rest.join("/") }
}
