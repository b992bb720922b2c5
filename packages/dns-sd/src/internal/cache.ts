/**
 * Records heard on one link, for as long as they are good (RFC 6762 sections 5.2, 10.1 and 10.2).
 *
 * **Mental model**: a plain state machine; the time is handed in. A record ends at its TTL, a second after its announcer
 * said goodbye, or a second after another one took its place. Until then whoever needs it asks for it again, four times in
 * the last fifth of its life.
 *
 * **Gotchas**: it is bounded in records, and in how long it believes one: what a hostile sender says is forgotten too.
 */
import { fold, keyOf, type Resource, type Type } from "./message.ts"

/** A record, and until when it is good; times are ms. */
export interface Entry {
  readonly resource: Resource
  readonly heard: number
  readonly expires: number
  /** Why it ends before its TTL. */
  readonly ending: "goodbye" | "replaced" | undefined
  /** When to ask for it again. */
  readonly refresh: number
}

/** Records of one link, at most, and addresses among them that nobody needs yet. */
const mostRecords = 4096
const mostStrangers = 256

/** Records of one name and type, at most, other than pointers. */
const mostOfName = 64

/** Seconds that a record is believed without being heard again; the usual TTL of a pointer (RFC 6762 section 10). */
const longestTtl = 4500

/** ms between a goodbye, or a successor, and the end. */
const lastBreath = 1000

/** Parts of its life after which a record is asked for, and how far each is moved at random (RFC 6762 section 5.2). */
const refreshes = [0.8, 0.85, 0.9, 0.95]
const refreshJitter = 0.02

export interface CacheOptions {
  /** Whether anything is known by it: what nobody needs is not asked for. */
  readonly isNeeded: (resource: Resource) => boolean
  /** Between 0 and 1. */
  readonly random: () => number
}

export class Cache {
  private readonly options: CacheOptions
  private readonly sets = new Map<string, Map<string, Entry>>()
  /** Addresses that nobody needed when they were heard, the oldest first: their services may be told of later. */
  private readonly strangers = new Map<string, Resource>()
  private size = 0

  constructor(options: CacheOptions) {
    this.options = options
  }

  /** Takes a record; answers whether what is known is different now, its TTL aside. */
  put(resource: Resource, now: number): boolean {
    const { data, isUnique, name, ttl } = resource
    const of = setOf(data.type, name)
    const set = this.sets.get(of) ?? new Map<string, Entry>()
    const key = keyOf(resource)
    const known = set.get(key)
    if (ttl === 0) {
      if (known === undefined || known.ending === "goodbye") return false
      set.set(key, {
        ...known,
        ending: "goodbye",
        expires: Math.min(known.expires, now + lastBreath),
        refresh: Infinity
      })
      return false
    }
    const isFull = data.type !== "PTR" && set.size >= mostOfName
    if (known === undefined && (isFull || !this.hasRoomFor(resource))) return false

    let different = known === undefined || known.ending !== undefined
    if (isUnique) {
      for (const [other, entry] of set) {
        // Others of the same announcement may have come a moment ago.
        if (other === key || entry.ending !== undefined || now - entry.heard <= lastBreath) continue
        set.set(other, {
          ...entry,
          ending: "replaced",
          expires: Math.min(entry.expires, now + lastBreath),
          refresh: Infinity
        })
        different = true
      }
    }
    const life = Math.min(ttl, longestTtl) * 1000
    if (known === undefined) this.size++
    // The last heard is the last of its set.
    set.delete(key)
    set.set(key, {
      resource,
      heard: now,
      expires: now + life,
      ending: undefined,
      refresh: this.refreshOf(now, life, 0)
    })
    this.sets.set(of, set)
    return different
  }

  /** What is known of a name, the last heard first; what is about to end comes last. */
  get(type: Type, name: string): ReadonlyArray<Entry> {
    const all = Array.from(this.sets.get(setOf(type, name))?.values() ?? []).toReversed()
    return [...all.filter(({ ending }) => ending === undefined), ...all.filter(({ ending }) => ending !== undefined)]
  }

  /** Forgets what is over, and tells it. */
  sweep(now: number): ReadonlyArray<Entry> {
    const over: Array<Entry> = []
    for (const [of, set] of this.sets) {
      for (const [key, entry] of set) {
        if (entry.expires > now) continue
        over.push(entry)
        this.drop(of, key)
      }
    }
    return over
  }

  /** The needed records that are to be asked for now. */
  toRefresh(now: number): ReadonlyArray<Resource> {
    const asked: Array<Resource> = []
    for (const set of this.sets.values()) {
      for (const [key, entry] of set) {
        if (entry.refresh > now) continue
        const life = entry.expires - entry.heard
        const done = refreshes.filter((part) => entry.heard + life * part <= now).length
        set.set(key, { ...entry, refresh: this.refreshOf(entry.heard, life, done) })
        if (this.options.isNeeded(entry.resource)) asked.push(entry.resource)
      }
    }
    return asked
  }

  /** When there is something to forget or to ask for. */
  get due(): number {
    let due = Infinity
    for (const set of this.sets.values()) {
      for (const { expires, refresh } of set.values()) due = Math.min(due, expires, refresh)
    }
    return due
  }

  /** A stranger takes the place of the one that has waited longest. */
  private hasRoomFor(resource: Resource): boolean {
    const isAddress = resource.data.type === "A" || resource.data.type === "AAAA"
    if (isAddress && !this.options.isNeeded(resource)) {
      for (const [key, stranger] of this.strangers) {
        if (this.strangers.size < mostStrangers) break
        this.strangers.delete(key)
        if (!this.options.isNeeded(stranger)) this.drop(setOf(stranger.data.type, stranger.name), key)
      }
      this.strangers.set(keyOf(resource), resource)
    }
    return this.size < mostRecords
  }

  private drop(of: string, key: string): void {
    const set = this.sets.get(of)
    if (set?.delete(key) === true) this.size--
    if (set?.size === 0) this.sets.delete(of)
    this.strangers.delete(key)
  }

  private refreshOf(heard: number, life: number, done: number): number {
    const part = refreshes[done]
    return part === undefined ? Infinity : heard + life * (part + refreshJitter * this.options.random())
  }
}

const setOf = (type: Type, name: string) => `${type} ${fold(name)}`
