/**
 * The settings in force, as the page shows them: narrowed, and under the section that they stand in.
 */
import type { ConfigurationView } from "../../api/types.ts"

export type Setting = ConfigurationView["settings"][number]

export interface Section {
  readonly name: string
  readonly settings: ReadonlyArray<Setting & { readonly key: string }>
}

/** What is listed: `set` is what somebody wrote, in the file or on the command line. */
export const choices = [["", "All"], ["set", "Set"], ["default", "Defaults"]] as const

/** A value in one line. */
export const textOf = (value: unknown): string =>
  typeof value === "string"
    ? value === "" ? "\"\"" : value
    : Array.isArray(value) && value.length === 0
    ? "none"
    : value === undefined
    ? "none"
    : Array.isArray(value) && value.every((item) => typeof item === "string")
    ? value.join(", ")
    : JSON.stringify(value)

/** Whether a value needs lines of its own. */
export const isNested = (value: unknown): boolean =>
  typeof value === "object" && value !== null && Object.values(value).some((item) => typeof item === "object")

/** The settings that are chosen and have all words in their path, value or origin, in their order. */
export const sectionsOf = (
  settings: ReadonlyArray<Setting>,
  { choice, text }: { readonly choice: string | null; readonly text: string }
): ReadonlyArray<Section> => {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "")
  const sections = new Map<string, Array<Section["settings"][number]>>()
  for (const setting of settings) {
    const { origin, path, value } = setting
    if (choice === "set" && origin === "default" || choice === "default" && origin !== "default") continue
    const described = `${path} ${textOf(value)} ${origin}`.toLowerCase()
    if (!words.every((word) => described.includes(word))) continue
    const [name = "", ...rest] = path.split(".")
    const list = sections.get(name) ?? []
    list.push({ ...setting, key: rest.join(".") || name })
    sections.set(name, list)
  }
  return Array.from(sections, ([name, settings]) => ({ name, settings }))
}
