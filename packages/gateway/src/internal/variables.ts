/**
 * What `${…}` stands for in a configuration file.
 */
import * as Os from "node:os"
import type { Lookup } from "./document.ts"

/** Reads one environment variable. */
type Variable = (name: string) => string | undefined

/** Shorter texts are no secrets, and occur in other words. */
const shortest = 4

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")

/** Reads environment variables, and keeps what they hold out of messages. */
export const reading = (env: Readonly<Record<string, string | undefined>>) => {
  const nameOf = new Map<string, string>()
  const variable: Variable = (name) => {
    const value = env[name]
    if (value !== undefined && value.length >= shortest) {
      // As it is, in a line, and in quotes.
      for (const form of [value, value.replace(/\s+/g, " "), JSON.stringify(value).slice(1, -1)]) nameOf.set(form, name)
    }
    return value
  }
  /** A message with the names of the variables that were read, in place of what they hold. */
  const withNames = (message: string): string => {
    if (nameOf.size === 0) return message
    // One may hold a part of what another one holds.
    const forms = Array.from(nameOf.keys()).sort((a, b) => b.length - a.length).map(escaped)
    return message.replace(new RegExp(forms.join("|"), "g"), (form) => `\${${nameOf.get(form)}}`)
  }
  return { variable, withNames }
}

/** Environment variables, and the few other names that editors substitute in their files. */
export const lookupIn = (variable: Variable, directory: string): Lookup => (expression) => {
  if (expression === "userHome") return { value: Os.homedir() }
  if (expression === "workspaceFolder") return { value: directory }
  if (expression.startsWith("input:")) {
    return {
      problem: `\${${expression}}: a gateway asks nobody; put the value into an environment variable: \${NAME}`
    }
  }
  const [, name, fallback] = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^]*))?$/.exec(expression) ?? []
  if (name === undefined) {
    return { problem: `\${${expression}}: expected \${NAME} or \${NAME:-default}; write $\${ for a plain \${` }
  }
  const value = variable(name)
  if (value !== undefined && (value !== "" || fallback === undefined)) return { value }
  return fallback === undefined
    ? { problem: `environment variable ${name} is not set; set it or give a default: \${${name}:-default}` }
    : { value: fallback }
}
