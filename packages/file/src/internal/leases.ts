/**
 * Leases in a directory: a file for each record, written once; its modification time is its last renewal. So a heartbeat
 * writes no content, and can't bring back a record that another process replaced meanwhile.
 */
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { codeOf, isTemporary, nameOf, removeIf, replace } from "./files.ts"

const Stored = Schema.fromJsonString(Schema.Struct({
  incarnation: Schema.String,
  /** ms */
  ttl: Schema.Finite,
  instance: Schema.Unknown
}))
const decodeStored = Schema.decodeUnknownResult(Stored)

interface Written {
  readonly incarnation: string
  readonly ttl: number
  readonly instance: unknown
}

/** What one read of the directory found. */
export interface Found {
  readonly instances: ReadonlyArray<ServiceInstance.ServiceInstance>
  readonly rejected: ReadonlyArray<Registry.Rejected>
  /** Epoch ms when the next one is over unless it is renewed; infinite without leases. */
  readonly nextExpiry: number
}

/** ms after which a file that is under way was left behind by a process that died. */
const abandonedAfter = 60_000

const concurrency = 16

const parse = (text: string): Result.Result<Written, string> =>
  Result.mapError(decodeStored(text), (error) => ServiceInstance.explain(error.issue))

const expiryOf = (mtimeMs: number, ttl: number): number => Math.round(mtimeMs) + ttl

// Of the file under any name, as it may have been moved aside.
const isOver = async (file: string, now: number): Promise<boolean> => {
  const stored = parse(await fs.readFile(file, "utf8"))
  return Result.isSuccess(stored) && expiryOf((await fs.stat(file)).mtimeMs, stored.success.ttl) <= now
}

const absent = (error: unknown): undefined => {
  if (codeOf(error) !== "ENOENT") throw error
}

/** Reads the directory and takes away what is over; several processes may do so at once. */
export const read = async (directory: string, now: number): Promise<Found> => {
  const instances: Array<ServiceInstance.ServiceInstance> = []
  const rejected: Array<Registry.Rejected> = []
  let nextExpiry = Infinity
  const visit = async (name: string): Promise<void> => {
    const file = path.join(directory, name)
    if (isTemporary(name)) {
      const left = async (file: string) => now - (await fs.stat(file)).mtimeMs > abandonedAfter
      if (await left(file).catch(absent)) await fs.rm(file, { force: true })
      return
    }
    if (!name.endsWith(".json") || name.startsWith(".")) return
    const handle = await fs.open(file).catch(absent)
    // Removed since the directory was listed.
    if (handle === undefined) return
    try {
      // Content and time of the same file, even if it is replaced now.
      const stored = parse(await handle.readFile("utf8"))
      if (Result.isFailure(stored)) return void rejected.push({ id: name, reason: stored.failure })
      const expires = expiryOf((await handle.stat()).mtimeMs, stored.success.ttl)
      if (expires <= now) return void await removeIf(file, (file) => isOver(file, now))
      nextExpiry = Math.min(nextExpiry, expires)
      const instance = ServiceInstance.decode(stored.success.instance)
      if (Result.isSuccess(instance)) instances.push(instance.success)
      else rejected.push({ id: name, reason: instance.failure })
    } finally {
      await handle.close()
    }
  }
  const names = (await fs.readdir(directory).catch(absent) ?? []).sort()
  for (let at = 0; at < names.length; at += concurrency) await Promise.all(names.slice(at, at + concurrency).map(visit))
  return { instances, rejected, nextExpiry }
}

const isOurs = (lease: Registry.Lease) => async (file: string): Promise<boolean> => {
  const stored = parse(await fs.readFile(file, "utf8"))
  return Result.isSuccess(stored) && stored.success.incarnation === lease.incarnation
}

/** The writing side. */
export const registrar = (name: string, directory: string): Registry.Registrar => {
  const run = <A>(operation: string, now: (now: number) => Promise<A>) =>
    Effect.flatMap(Clock.currentTimeMillis, (time) =>
      Effect.tryPromise({
        try: () => now(time),
        catch: (cause) => new Registry.RegistryError({ registry: name, operation, cause })
      }))
  return {
    put: (instance, { incarnation, ttl }) =>
      run("put", async (now) => {
        const handle = path.join(directory, nameOf(instance.id))
        const stored: Written = { incarnation, ttl: Duration.toMillis(ttl), instance }
        await fs.mkdir(directory, { recursive: true })
        await replace(handle, `${JSON.stringify(stored, null, 2)}\n`, { time: new Date(now) })
        return { instance, incarnation, ttl, handle }
      }),
    renew: (leases) =>
      Effect.map(
        Effect.forEach(leases, (lease) => run("renew", (now) => renew(lease, new Date(now))), { concurrency }),
        (answers) => answers.filter((answer) => answer !== undefined)
      ),
    remove: (lease) => Effect.asVoid(run("remove", () => removeIf(lease.handle, isOurs(lease))))
  }
}

const renew = async (lease: Registry.Lease, now: Date): Promise<Registry.LeaseLost | undefined> => {
  const handle = await fs.open(lease.handle, "r+").catch(absent)
  if (handle === undefined) return { lease, reason: "its file is gone", taken: false }
  try {
    const stored = parse(await handle.readFile("utf8"))
    if (Result.isFailure(stored)) return { lease, reason: `its file is broken: ${stored.failure}`, taken: false }
    if (stored.success.incarnation !== lease.incarnation) {
      // One whose time is over holds nothing, though nobody took it away yet.
      const taken = expiryOf((await handle.stat()).mtimeMs, stored.success.ttl) > now.getTime()
      return { lease, reason: "another process took its id", taken }
    }
    // Touches the file that was read, even if another took its place by now.
    await handle.utimes(now, now)
    return undefined
  } finally {
    await handle.close()
  }
}
