/**
 * Writing so that no reader ever sees half a file, and nobody removes what is not his.
 */
import { createHash, randomUUID } from "node:crypto"
import * as fs from "node:fs/promises"
import * as path from "node:path"

/** Code of a system error: `ENOENT`. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined

const ignore = (...codes: ReadonlyArray<string>) => (error: unknown): undefined => {
  const code = codeOf(error)
  if (code === undefined || !codes.includes(code)) throw error
}

/** ms in which a second change may carry the time of the first: the system's clock for files ticks slowly. */
const tick = 20

/**
 * Text that differs as soon as the file, or its content, may differ; of a directory, as soon as its entries may. None if
 * it was touched just now, as one more change may not show.
 */
export const signature = async (file: string, now: number): Promise<string | undefined> => {
  const { ctimeMs, ctimeNs, dev, ino, mtimeNs, size } = await fs.stat(file, { bigint: true })
  return Math.abs(now - Number(ctimeMs)) < tick ? undefined : [dev, ino, size, mtimeNs, ctimeNs].join(" ")
}

/** Name of a file that is under way; hidden, and known to those who clean up. */
const temporary = (file: string) => path.join(path.dirname(file), `.${randomUUID()}.tmp`)
export const isTemporary = (name: string): boolean => /^\.[\da-f-]{36}\.tmp$/.test(name)

/** Replaces a file in one step, through its links, and keeps its mode. */
export const replace = async (
  file: string,
  content: string,
  options: { readonly time?: Date | undefined } = {}
): Promise<void> => {
  const target = await fs.realpath(file).catch(ignore("ENOENT")) ?? file
  const mode = (await fs.stat(target).catch(ignore("ENOENT")))?.mode
  const written = temporary(target)
  try {
    const handle = await fs.open(written, "wx")
    try {
      if (mode !== undefined) await handle.chmod(mode & 0o7777)
      await handle.writeFile(content)
      if (options.time !== undefined) await handle.utimes(options.time, options.time)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await fs.rename(written, target)
  } catch (error) {
    await fs.rm(written, { force: true })
    throw error
  }
  await syncDirectory(path.dirname(target))
}

// Some systems can't open or sync a directory; the rename itself is done there.
const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await fs.open(directory, "r").catch(ignore("EISDIR", "EPERM", "EACCES"))
  if (handle === undefined) return
  try {
    await handle.sync().catch(ignore("EINVAL", "EPERM"))
  } finally {
    await handle.close()
  }
}

/**
 * Removes a file if it is (still) the one that `mine` accepts. Whoever moves it away first owns the decision; a file that
 * turns out to be another goes back, unless a newer one took its place. Answers whether it was removed.
 */
export const removeIf = async (file: string, mine: (file: string) => Promise<boolean>): Promise<boolean> => {
  const claimed = temporary(file)
  try {
    if (!await mine(file)) return false
    await fs.rename(file, claimed)
  } catch (error) {
    return ignore("ENOENT")(error) ?? false
  }
  const wasMine = await mine(claimed)
  if (!wasMine) await fs.link(claimed, file).catch(ignore("EEXIST"))
  await fs.rm(claimed, { force: true })
  return wasMine
}

/** A file name for any id: ids that are plain stay readable, of others a digest tells them apart. */
export const nameOf = (id: string): string => {
  if (/^[a-z0-9_-][a-z0-9._-]{0,99}$/.test(id)) return `${id}.json`
  const digest = createHash("sha256").update(JSON.stringify(id)).digest("hex").slice(0, 24)
  return `${id.toLowerCase().replace(/[^a-z0-9_-]+/g, "-").slice(0, 60)}~${digest}.json`
}
