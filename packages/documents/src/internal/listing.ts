/** What is said of a server beside its card, and what becomes of cards. */
import type { Rejected, Snapshot } from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { DocumentError, Get } from "./http.ts"
import type { Given } from "./inputs.ts"
import type { Reach } from "./reach.ts"

/** How a server is known where it is listed. What is said here goes before what the card says. */
export interface Listing {
  readonly id: string
  /** The document that says where it is. */
  readonly from: URL
  readonly version?: string | undefined
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}

/** What holds for all documents of a registry. */
export interface Terms {
  readonly given: Given
  readonly reach: Reach
  /** Whether packages may be run here. */
  readonly mayRun: boolean
}

/** The document of a registry; `search` is for those that can be searched. */
export interface Source {
  readonly home: URL
  readonly terms: Terms
  readonly search?: string | undefined
}

/** Reads everything that a document says. */
export type Read = (get: Get) => Effect.Effect<Snapshot, DocumentError>

export interface Records {
  readonly instances: ReadonlyArray<ServiceInstance>
  readonly rejected: ReadonlyArray<Rejected>
}

/** The records of one server: the first is known by its id, the nth as `<id>#<n>`. */
export const records = (
  id: string,
  made: ReadonlyArray<(id: string) => Result.Result<ServiceInstance, string>>
): Records => {
  const instances: Array<ServiceInstance> = []
  const rejected: Array<Rejected> = []
  made.forEach((make, index) => {
    const own = index === 0 ? id : `${id}#${index + 1}`
    const record = make(own)
    if (Result.isSuccess(record)) instances.push(record.success)
    else rejected.push({ id: own, reason: record.failure })
  })
  return { instances, rejected }
}

/** What becomes of a server that can't be read: all that was known of it is rejected, and so stays as it was. */
export const rejection = (id: string, reason: string, known?: Records): Records => {
  const ids = new Set([id, ...known?.instances.map(({ id }) => id) ?? [], ...known?.rejected.map(({ id }) => id) ?? []])
  return { instances: [], rejected: Array.from(ids, (id) => ({ id, reason })) }
}

export const defined = (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
