/**
 * What is wrong in a document, said of the places where it is.
 */
import { hint } from "@portolan/core/NearestName"
import type * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type { Finding, Path, PositionedDocument } from "./document.ts"
import { words } from "./outline.ts"

const unknownKey = "unknown key"
// Who made more mistakes than this made one of another kind.
const most = 200
const formatter = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) =>
    issue._tag === "UnexpectedKey"
      ? unknownKey
      : issue._tag === "MissingKey"
      ? "missing"
      : SchemaIssue.defaultLeafHook(issue)
})

/** The value at a path. */
export const valueAt = (root: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (value, key) => typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined,
    root
  )

const pathOf = (issue: { readonly path?: ReadonlyArray<unknown> | undefined }): Path =>
  (issue.path ?? []).map((key) => typeof key === "number" ? key : String(key))

/** Findings of a schema about the part of the document at `prefix`. */
export const explain = (
  document: PositionedDocument,
  schema: Schema.Top,
  error: Schema.SchemaError,
  prefix: Path,
  root: unknown
): ReadonlyArray<Finding> =>
  formatter(error.issue).issues.slice(0, most).map((issue) => {
    const inner = pathOf(issue)
    const path = [...prefix, ...inner]
    if (issue.message === unknownKey) {
      const known = words(schema, inner.slice(0, -1))
      const key = String(inner.at(-1))
      // One way of several to say something has it, and what else stands here is another way.
      if (known.includes(key)) {
        return { path, ...document.keyAt(path), message: "doesn't go with what else stands here" }
      }
      const suggestion = hint(key, known)
      const list = suggestion === "" && known.length > 0 ? `; expected one of ${known.join(", ")}` : ""
      return { path, ...document.keyAt(path), message: `${unknownKey}${suggestion}${list}` }
    }
    const message = issue.message.replace(/\s+/g, " ").replace(/^[EM]/, (letter) => letter.toLowerCase())
    const written = valueAt(root, path)
    const suggestion = typeof written === "string" ? hint(written, words(schema, inner)) : ""
    return { path, ...document.valueAt(path), message: `${message}${suggestion}` }
  })

/** A copy of the value in which the texts that a schema complains of are read again as numbers or booleans. */
export const reread = (
  document: PositionedDocument,
  root: unknown,
  error: Schema.SchemaError,
  prefix: Path = []
): unknown => {
  const copy = structuredClone(root)
  let changed = false
  for (const issue of formatter(error.issue).issues) {
    const path = [...prefix, ...pathOf(issue)]
    const value = document.reread(path)
    const holder = valueAt(copy, path.slice(0, -1))
    const key = path.at(-1)
    if (value === undefined || key === undefined || typeof holder !== "object" || holder === null) continue
    changed = Reflect.set(holder, key, value) || changed
  }
  return changed ? copy : root
}

const samePath = (a: Path, b: Path): boolean => a.length === b.length && a.every((key, index) => key === b[index])

/**
 * Collects findings, each once. What has no value because of a mistake of the document itself isn't told as a second
 * mistake.
 */
export const collect = (document: PositionedDocument) => {
  const all: Array<Finding> = [...document.findings]
  return {
    all,
    add: (...findings: ReadonlyArray<Finding>): void => {
      for (const finding of findings) {
        const told = all.some((known) =>
          samePath(known.path, finding.path) &&
          (known.message === finding.message || document.findings.includes(known))
        )
        if (!told) all.push(finding)
      }
    }
  }
}
