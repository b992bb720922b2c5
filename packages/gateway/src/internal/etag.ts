/**
 * Entity tags.
 */
import { createHash } from "node:crypto"

const short = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("base64url").slice(0, 16)

/** The strong tag of a representation. */
export const strong = (bytes: Uint8Array): string => `"${short(bytes)}"`

/**
 * The tag of what can be written: its first half is that of the record alone, which `If-Match` compares, so that a write
 * isn't refused because a call was counted meanwhile.
 */
export const ofRecord = (record: unknown, representation: string): string =>
  `"${short(canonical(record))}.${short(representation)}"`

/** JSON with its keys in order: the same for records that say the same. */
const canonical = (record: unknown): string =>
  JSON.stringify(record, (_, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1))
      : value) ?? ""

const listed = (header: string): ReadonlyArray<string> => header.match(/(?:W\/)?"[^"]*"|\*/g) ?? []

/** Whether `If-None-Match` names this tag. */
export const matches = (header: string | undefined, etag: string): boolean =>
  header !== undefined && listed(header).some((tag) => tag === "*" || tag.replace(/^W\//, "") === etag)

/** Whether `If-Match` names this record; weak tags never do. */
export const matchesRecord = (header: string, etag: string): boolean => {
  const half = (tag: string) => tag.slice(1, -1).split(".")[0]
  return listed(header).some((tag) => tag === "*" || tag.startsWith("\"") && half(tag) === half(etag))
}
