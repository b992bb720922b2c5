/**
 * Ids of tasks as clients get them: they name the instance that runs the task and the id that it gave, sealed for the
 * principal of the client. Any replica with the key finds the task, and gives it the same id.
 *
 * @since 0.2.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import * as Catalog from "@portolan/core/Catalog"
import { type Fields, isFields } from "../../JsonRpc.ts"
import type * as Seal from "../Seal.ts"

/**
 * A task of a server.
 *
 * @category models
 * @since 0.2.0
 */
export interface ServerTask {
  readonly service: string
  readonly source: string
  readonly instance: string
  /** As the server gave it. */
  readonly id: string
}

/**
 * Seals and opens. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskIds {
  /** `undefined` for an id of a server that is too long to be sent in a header. */
  readonly seal: (task: ServerTask, principal: string | undefined) => string | undefined
  /** `undefined` for anything that wasn't sealed for this principal. */
  readonly open: (id: string, principal: string | undefined) => ServerTask | undefined
}

/** Headers of all kinds have 16 KiB in Node. */
const MaxLength = 4_096
/** `_meta` that names the task which a message belongs to. */
const relatedTask = "io.modelcontextprotocol/related-task"

/**
 * The key of the instance that runs a task.
 *
 * @category accessors
 * @since 0.2.0
 */
export const instanceOf = ({ instance, source }: ServerTask): InstanceKey => Catalog.key(source, instance)

/**
 * Makes them.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (seals: Seal.Seals): TaskIds => {
  const { open, seal } = seals.of("portolan task id", MaxLength)
  // None, and one of the same text, are not the same.
  const contextOf = (principal: string | undefined): string => principal === undefined ? "" : `principal ${principal}`
  return {
    seal: ({ id, instance, service, source }, principal) => {
      const sealed = seal([service, source, instance, id], contextOf(principal))
      return sealed.length > MaxLength ? undefined : sealed
    },
    open: (text, principal) => {
      const value = open(text, contextOf(principal))
      if (!Array.isArray(value)) return undefined
      const [service, source, instance, id]: ReadonlyArray<unknown> = value
      return typeof service === "string" && typeof source === "string" && typeof instance === "string" &&
          typeof id === "string"
        ? { service, source, instance, id }
        : undefined
    }
  }
}

/**
 * The task that parameters or a result say they belong to.
 *
 * @category accessors
 * @since 0.2.0
 */
export const relatedOf = (fields: Fields | undefined): string | undefined => {
  const meta = fields?.["_meta"]
  const related = isFields(meta) ? meta[relatedTask] : undefined
  const id = isFields(related) ? related["taskId"] : undefined
  return typeof id === "string" ? id : undefined
}

/**
 * Gives parameters or a result that name a task by the one id, by the other.
 *
 * @category combinators
 * @since 0.2.0
 */
export const renamed = <A extends Fields | undefined>(fields: A, from: string, to: string): A | Fields =>
  relatedOf(fields) === from ? relatedTo(fields, to) : fields

/**
 * Gives parameters or a result that belong to a task.
 *
 * @category combinators
 * @since 0.2.0
 */
export const relatedTo = (fields: Fields | undefined, id: string): Fields => {
  const meta = fields?.["_meta"]
  return { ...fields, _meta: { ...(isFields(meta) ? meta : undefined), [relatedTask]: { taskId: id } } }
}

/**
 * Gives parameters or a result that name no task.
 *
 * @category combinators
 * @since 0.2.0
 */
export const unrelated = (fields: Fields): Fields => {
  const { _meta, ...rest } = fields
  if (!isFields(_meta) || !Object.hasOwn(_meta, relatedTask)) return fields
  const { [relatedTask]: _related, ...meta } = _meta
  return Object.keys(meta).length === 0 ? rest : { ...rest, _meta: meta }
}
