/**
 * Records as they may be shown: without the values of secrets.
 */
import type { Endpoint, ServiceInstance } from "@portolan/core/ServiceInstance"

export const hidden = "***"

const secretName = /key|token|secret|passw|passphrase|auth|credential/i

/** Names of the values stay; so do references, which only say where a secret is. */
const values = (record: Readonly<Record<string, unknown>> | undefined): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(record ?? {}).map(([name, value]) => [name, typeof value === "string" ? hidden : value])
  )

/** An address without its password and the values of its parameters. */
const url = (text: string): string => {
  const parsed = URL.parse(text)
  if (parsed === null || (parsed.username === "" && parsed.password === "" && parsed.search === "")) return text
  if (parsed.username !== "") parsed.username = hidden
  if (parsed.password !== "") parsed.password = hidden
  for (const name of new Set(parsed.searchParams.keys())) parsed.searchParams.set(name, hidden)
  return parsed.href
}

/** What stands under these has names of its own, and any of it may be secret. */
const named = new Set(["headers", "env"])

/** A setting at its path: what is secret by its name or its place is hidden, however deep it stands. */
export const setting = (path: ReadonlyArray<string>, value: unknown): unknown => {
  if (Array.isArray(value)) return value.map((item) => setting(path, item))
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, setting([...path, key], inner)]))
  }
  if (path.slice(1).some((key) => secretName.test(key)) || path.slice(0, -1).some((key) => named.has(key))) {
    return hidden
  }
  return typeof value === "string" ? url(value) : value
}

/** `--api-key=x`, `--api-key x`, `--header=Authorization: x`, and addresses with a password in them. */
const argumentsOf = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.map((argument, index) => {
    const before = args[index - 1]
    if (
      before !== undefined && /^--?[\w-]+$/.test(before) && secretName.test(before) && !argument.startsWith("-")
    ) return hidden
    const [names = ""] = /^(?:[\w-]+(?:\s*=\s*|\s*:(?!\/\/)\s*))+/.exec(argument) ?? []
    if (secretName.test(names)) return `${names}${hidden}`
    const value = argument.slice(names.length)
    return /^[\w+.-]+:\/\//.test(value) ? `${names}${url(value)}` : argument
  })

const secretOf = (record: Readonly<Record<string, unknown>>, name: string): Record<string, unknown> =>
  typeof record[name] === "string" ? { ...record, [name]: hidden } : { ...record }

const authOf = (auth: Readonly<Record<string, unknown>>): Record<string, unknown> => {
  const { tokenUrl } = auth
  return { ...secretOf(auth, "clientSecret"), ...typeof tokenUrl === "string" ? { tokenUrl: url(tokenUrl) } : {} }
}

const endpoint = (value: Endpoint): Record<string, unknown> => {
  switch (value.transport) {
    case "stdio":
      return {
        ...value,
        ...(value.args === undefined ? {} : { args: argumentsOf(value.args) }),
        ...(value.env === undefined ? {} : { env: values(value.env) })
      }
    case "a2a":
      return { ...value, card: url(value.card) }
    case "in-process":
      return { ...value }
    default:
      return {
        ...value,
        url: url(value.url),
        ...(value.headers === undefined ? {} : { headers: values(value.headers) }),
        ...(value.tls === undefined ? {} : { tls: secretOf(value.tls, "passphrase") }),
        ...(value.auth === undefined ? {} : { auth: authOf(value.auth) })
      }
  }
}

/** The record without the values of its headers and environment, and without what its URL carries beside the address. */
export const redact = (instance: ServiceInstance): Record<string, unknown> => ({
  ...instance,
  endpoint: endpoint(instance.endpoint)
})
