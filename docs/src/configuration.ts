/**
 * Writes `docs/configuration.md` from the JSON Schema that `portolan config schema` prints:
 *
 *     node docs/src/configuration.ts
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { isDeepStrictEqual } from "node:util"

interface Schema {
  readonly type?: string
  readonly const?: unknown
  readonly enum?: ReadonlyArray<unknown>
  readonly description?: string
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: boolean | Schema
  readonly required?: ReadonlyArray<string>
  readonly items?: Schema
  readonly oneOf?: ReadonlyArray<Schema>
  readonly anyOf?: ReadonlyArray<Schema>
}

interface Row {
  readonly key: string
  readonly takes: string
  readonly byDefault: string
  readonly means: string
}

const choices = (schema: Schema) => schema.oneOf ?? schema.anyOf ?? []

const code = (value: unknown) => `\`${typeof value === "string" ? value : JSON.stringify(value)}\``

/** A secret may stand elsewhere: `{ env: NAME }`, `{ file: PATH }`. */
const isReference = ({ properties = {} }: Schema): boolean => ["env", "file"].includes(Object.keys(properties).join())

const takes = (schema: Schema): string => {
  if (isReference(schema)) return code(`{ ${Object.keys(schema.properties ?? {}).join()}: … }`)
  if (schema.const !== undefined) return code(schema.const)
  if (schema.enum !== undefined) return schema.enum.map(code).join(", ")
  if (choices(schema).length > 0) return Array.from(new Set(choices(schema).map(takes))).join(" or ")
  if (schema.type === "array") return `list of ${schema.items === undefined ? "anything" : takes(schema.items)}`
  if (typeof schema.additionalProperties === "object") return `object of ${takes(schema.additionalProperties)}`
  if (schema.minimum !== undefined && schema.maximum !== undefined) {
    return `${schema.type} ${schema.minimum} to ${schema.maximum}`
  }
  return schema.type ?? "anything"
}

/** The keys of an object, those of objects in it under their path. */
const rows = (schema: Schema, prefix: string): ReadonlyArray<Row> =>
  Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const key = `${prefix}${name}`
    const required = schema.required?.includes(name) === true
    const row = {
      key,
      takes: takes(property),
      byDefault: property.default === undefined ? required ? "required" : "" : code(property.default),
      means: property.description ?? ""
    }
    return [row, ...inside(property, key)]
  })

const inside = (schema: Schema, key: string): ReadonlyArray<Row> => {
  if (isReference(schema)) return []
  if (schema.properties !== undefined) return rows(schema, `${key}.`)
  if (schema.items !== undefined) return inside(schema.items, `${key}[]`)
  if (typeof schema.additionalProperties === "object") return inside(schema.additionalProperties, `${key}.<name>`)
  // Alternatives share keys; each is told once.
  const all = choices(schema).flatMap((choice) => inside(choice, key))
  return all.filter((row, index) => all.findIndex((other) => other.key === row.key && same(other, row)) === index)
}

const same = (a: Row, b: Row) => a.means === b.means && a.takes === b.takes

const table = (all: ReadonlyArray<Row>): string => {
  const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ")
  const line = (row: Row) => `| \`${row.key}\` | ${cell(row.takes)} | ${cell(row.byDefault)} | ${cell(row.means)} |`
  return ["| key | takes | default | |", "| --- | --- | --- | --- |", ...all.map(line)].join("\n")
}

/** The keys of entries of several types, each told once: first those that the most have. */
const entries = (kinds: ReadonlyArray<Schema>): string => {
  const all = kinds.map((kind) => ({
    type: String(kind.properties?.["type"]?.const),
    rows: rows(kind, "").filter(({ key }) => key !== "type")
  }))
  const has = (kind: (typeof all)[number], row: Row) => kind.rows.some((other) => isDeepStrictEqual(other, row))
  const groups = new Map<string, { readonly types: number; readonly rows: Array<Row> }>()
  for (const kind of all) {
    for (const row of kind.rows) {
      const types = all.filter((other) => has(other, row)).map(({ type }) => type)
      const title = `${types.length === 1 ? "type" : "types"}: ${types.join(", ")}`
      const group = groups.get(title) ?? { types: types.length, rows: [] }
      if (!group.rows.some((other) => isDeepStrictEqual(other, row))) group.rows.push(row)
      groups.set(title, group)
    }
  }
  return Array.from(groups)
    .sort(([, a], [, b]) => b.types - a.types)
    .map(([title, { rows }]) => `### ${code(title)}\n\n${table(rows)}\n`)
    .join("\n")
}

const section = (name: string, schema: Schema): string => {
  const about = schema.description === undefined ? "" : `${schema.description}.\n\n`
  const kinds = schema.items?.oneOf
  if (kinds !== undefined) return `## \`${name}\`\n\n${about}${entries(kinds)}`
  const all = inside(schema, name)
  return `## \`${name}\`\n\n${about}${all.length === 0 ? `Takes ${takes(schema)}.` : table(all)}\n`
}

/** The page for a schema, between the hand-written beginning and nothing. */
const page = (beginning: string, schema: Schema): string => {
  const sections = Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    if (name === "$schema") return []
    return [
      name === "servers"
        ? "## `servers`\n\nThe same as `mcpServers`, by the name that VS Code gives it.\n"
        : section(name, property)
    ]
  })
  return [beginning, ...sections].join("\n")
}

/** As it is formatted here. */
const formatted = (text: string): string =>
  execFileSync(at("node_modules/.bin/dprint"), ["fmt", "--stdin", "docs/configuration.md"], {
    cwd: at(""),
    input: text,
    encoding: "utf8"
  })

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** The page as it should be now. */
export const generate = (): string => {
  const schema: Schema = JSON.parse(
    execFileSync(process.execPath, [at("apps/portolan/bin/portolan.js"), "config", "schema"], { encoding: "utf8" })
  )
  return formatted(page(readFileSync(at("docs/src/configuration-beginning.md"), "utf8"), schema))
}

if (import.meta.main) writeFileSync(at("docs/configuration.md"), generate())
