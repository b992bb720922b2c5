/**
 * What `${…}` stands for in a configuration file.
 */
import * as Os from "node:os"
import type { Lookup } from "./document.ts"

/** Environment variables, and the few other names that editors substitute in their files. */
export const lookupIn =
  (env: Readonly<Record<string, string | undefined>>, directory: string): Lookup => (expression) => {
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
    const value = env[name]
    if (value !== undefined && (value !== "" || fallback === undefined)) return { value }
    return fallback === undefined
      ? { problem: `environment variable ${name} is not set; set it or give a default: \${${name}:-default}` }
      : { value: fallback }
  }
