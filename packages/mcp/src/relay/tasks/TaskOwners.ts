/**
 * Which clients of the handshake era were given which tasks: for their lists of tasks, and for what servers tell of tasks by
 * themselves.
 *
 * @since 0.2.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import type { Client } from "../calls/Exchange.ts"

/**
 * A client and the id by which it knows a task.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskOwner {
  readonly client: Client
  readonly id: string
}

/**
 * The owners. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskOwners {
  /** A client was given a task, or asks for it. `key` and `task` as the server has them; the oldest are forgotten first. */
  readonly note: (client: Client, id: string, key: InstanceKey | undefined, task: string) => void
  readonly find: (key: InstanceKey, task: string) => TaskOwner | undefined
  /** Ids of the tasks of a client, oldest first. */
  readonly of: (client: Client) => ReadonlyArray<string>
}

/** Tasks of all clients. */
const MaxTasks = 10_000

/**
 * Makes them.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (): TaskOwners => {
  // The one noted last at the end.
  const owners = new Map<string, { readonly client: WeakRef<Client>; readonly id: string }>()
  const nameOf = (key: InstanceKey | undefined, task: string): string => `${key ?? ""}\u0000${task}`
  return {
    note: (client, id, key, task) => {
      const name = nameOf(key, task)
      const known = owners.get(name)
      if (known?.client.deref() === client) return
      owners.delete(name)
      // A session that is over needs no list.
      owners.set(name, { client: new WeakRef(client), id })
      if (owners.size <= MaxTasks) return
      const oldest = owners.keys().next()
      if (oldest.done !== true) owners.delete(oldest.value)
    },
    find: (key, task) => {
      const owner = owners.get(nameOf(key, task))
      const client = owner?.client.deref()
      return owner === undefined || client === undefined ? undefined : { client, id: owner.id }
    },
    // One that was cancelled is the gateway's own beside its server's.
    of: (client) =>
      Array.from(new Set(owners.values().filter((owner) => owner.client.deref() === client).map(({ id }) => id)))
  }
}
