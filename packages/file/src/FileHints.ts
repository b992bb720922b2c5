/**
 * Hints that files may have changed: written in place, renamed over, or exchanged through any link on the way to them.
 *
 * @since 0.1.0
 */
import type * as Registry from "@portolan/core/Registry"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { type FSWatcher, watch } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { codeOf } from "./internal/files.ts"

/** Where other machines write too, their changes aren't told: NFS, SMB, CIFS, FUSE, 9p (`man 2 statfs`). */
const remote = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997])

interface Followed {
  readonly watcher: FSWatcher
  readonly inode: bigint
}

/**
 * What is followed.
 *
 * @category models
 * @since 0.1.0
 */
export interface FileHintsOptions {
  /** The files; asked anew before each hint. */
  readonly files: () => ReadonlyArray<string>
  /** Directories whose own entries matter too. Default none. */
  readonly directories?: ReadonlyArray<string> | undefined
  /** Whether an event in a directory is a hint. Default: each is. */
  readonly counts?: ((directory: string, event: "rename" | "change", name: string | undefined) => boolean) | undefined
  /** Told whether the system tells of changes there. */
  readonly tell?: ((told: boolean) => void) | undefined
}

/**
 * Follows the directories of the files and of what their links lead to, as they are whenever it is asked for a hint.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: FileHintsOptions): Registry.Wake =>
  Effect.gen(function*() {
    const some = Latch.makeUnsafe(false)
    const followed = new Map<string, Followed>()

    const drop = (directory: string) => {
      followed.get(directory)?.watcher.close()
      followed.delete(directory)
    }
    const open = (directory: string, inode: bigint) => {
      const watcher = watch(directory, { persistent: false }, (event, name) => {
        if (options.counts?.(directory, event, name ?? undefined) !== false) some.openUnsafe()
      })
      watcher.on("error", () => {
        drop(directory)
        some.openUnsafe()
      })
      followed.set(directory, { watcher, inode })
      // Something may have changed there before it was followed.
      some.openUnsafe()
    }
    const follow = Effect.promise(async () => {
      const wanted = new Set<string>()
      let told = true
      const directories = await Promise.all(options.files().map((file) => directoriesOf(path.resolve(file))))
      for (const directory of [...directories.flat(), ...options.directories ?? []]) {
        const found = await nearest(directory)
        if (found === undefined) continue
        wanted.add(found.directory)
        if (followed.get(found.directory)?.inode === found.inode) continue
        drop(found.directory)
        try {
          open(found.directory, found.inode)
        } catch {
          told = false
        }
      }
      for (const directory of followed.keys()) if (!wanted.has(directory)) drop(directory)
      const [first] = wanted
      if (first !== undefined) {
        const type = await fs.statfs(first).then(({ type }) => type, () => undefined)
        if (type !== undefined && remote.has(type)) told = false
      }
      options.tell?.(told)
    })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const directory of followed.keys()) drop(directory)
      })
    )
    yield* follow
    some.closeUnsafe()
    return Effect.andThen(follow, some.await).pipe(Effect.andThen(Effect.sync(() => void some.closeUnsafe())))
  })

// The directory, or the nearest above it that is there, so that its making is told.
const nearest = async (
  directory: string
): Promise<{ readonly directory: string; readonly inode: bigint } | undefined> => {
  for (let at = directory;;) {
    try {
      const { ino } = await fs.stat(at, { bigint: true })
      return { directory: at, inode: ino }
    } catch (error) {
      const above = path.dirname(at)
      if (above === at || codeOf(error) === undefined) return undefined
      at = above
    }
  }
}

// Every directory in which a link on the way to the file can be changed, and the file's own.
const directoriesOf = async (file: string): Promise<ReadonlyArray<string>> => {
  const found = new Set([path.dirname(file)])
  const follow = async (target: string, hops: number): Promise<void> => {
    const { root } = path.parse(target)
    let at = root
    for (const part of target.slice(root.length).split(path.sep)) {
      const above = at
      at = path.join(at, part)
      const link = await fs.readlink(at).catch(() => undefined)
      if (link === undefined || hops >= 40) continue
      found.add(above)
      const to = path.resolve(above, link)
      return follow(path.join(to, path.relative(at, target)), hops + 1)
    }
    found.add(path.dirname(target))
  }
  await follow(file, 0)
  return Array.from(found)
}
