/**
 * Reads what those wrote who know nothing of Portolan: JSON that says where a service is, or the text of an address.
 *
 * **Mental model**: others differ in how they say where an instance is; that becomes its `endpoint`. The key says which
 * instance of which service it is. All that remains is read as the fields of a record.
 *
 * **Gotchas**: what bears on safety (whether TLS is spoken, who may see it) is understood, or the record is rejected.
 * No reason repeats a value: it may hold a password.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type { Place } from "../../RecordFormat.ts"
import * as ServiceInstance from "../../ServiceInstance.ts"

export type Fields = Readonly<Record<string, unknown>>

/** What is said of a value that says nowhere where the instance is. */
export const expected = "expected a record of Portolan, JSON with `url`, `endpoints` or `address` and `port`, " +
  "or the text of a URL or of host:port"

/** Fields that say where the instance is and how it is called there; they aren't fields of a record. */
const location = new Set(
  [
    ["url", "uri", "endpoint", "endpoints", "address", "addr", "host", "port"],
    ["scheme", "protocol", "secure", "isSecure", "tls", "ssl", "path", "transport", "headers"]
  ].flat()
)

/** Reads the text of a URL or of `host:port`. */
export const fromText = (text: string, place: Place): Result.Result<ServiceInstance.ServiceInstance, string> =>
  Result.flatMap(
    Result.mapError(urlOf(text, {}), (reason) => reason === noAddress ? expected : reason),
    (url) => ServiceInstance.decode({ ...place, endpoint: { transport: transportAt(url), url } })
  )

/** Reads JSON that is no record of ours. */
export const fromFields = (written: Fields, place: Place): Result.Result<ServiceInstance.ServiceInstance, string> =>
  Result.gen(function*() {
    const fields = uncapitalized(written)
    const { meta, name, ...rest } = fields
    const metadata = fields["metadata"] ?? meta
    // Where there is nothing but texts to say more with, it is said with them.
    const labels: Fields = Predicate.isObject(metadata) ? metadata : {}
    const url = yield* locate(fields, {
      scheme: fields["scheme"] ?? fields["protocol"] ?? labels["mcp-scheme"],
      secure: fields["secure"] ?? fields["isSecure"] ?? fields["tls"] ?? fields["ssl"],
      path: fields["path"] ?? labels["mcp-path"]
    })
    const transport = fields["transport"] ?? labels["mcp-transport"] ?? transportAt(url)
    const said = (field: string) => fields[field] ?? labels[field]
    return yield* ServiceInstance.decode(defined({
      ...Object.fromEntries(Object.entries(rest).filter(([field]) => !location.has(field))),
      id: place.id,
      service: place.service ?? fields["service"] ?? name,
      endpoint: defined({ transport, url, headers: fields["headers"] }),
      kind: said("kind"),
      version: said("version"),
      region: said("region"),
      zone: said("zone"),
      weight: numberOf(said("weight")),
      capabilities: yield* listOf("capabilities", said("capabilities")),
      tags: yield* listOf("tags", said("tags")),
      tools: yield* listOf("tools", said("tools")),
      metadata
    }))
  })

/** What is said of an address besides the address itself. */
interface Hints {
  readonly scheme?: unknown
  readonly secure?: unknown
  readonly path?: unknown
}

/** The URL that the fields speak of. */
const locate = (fields: Fields, hints: Hints): Result.Result<string, string> => {
  for (const field of ["url", "uri", "endpoint"]) {
    if (fields[field] !== undefined) return named(field, urlOf(fields[field], hints))
  }
  const { endpoints, port } = fields
  if (endpoints !== undefined) {
    const urls = (Array.isArray(endpoints) ? endpoints : [endpoints]).map((endpoint) => urlOf(endpoint, hints))
    const none = Result.fail("endpoints: none is an http(s) or ws(s) URL or host:port")
    return urls.find(Result.isSuccess) ?? none
  }
  for (const field of ["address", "addr", "host"]) {
    if (fields[field] !== undefined) return named(field, urlOf(withPort(fields[field], port), hints))
  }
  return Result.fail(expected)
}

const named = <A>(field: string, result: Result.Result<A, string>) =>
  Result.mapError(result, (reason) => `${field}: ${reason}`)

const hostOnly = /^(?:\[[\da-f:.]+\]|[^\s:/?#@\\[\]]+)$/i
const hostAndPort = /^(?:\[[\da-f:.]+\]|[^\s:/?#@\\[\]]+):\d{1,5}$/i
const ipv6 = /^[\da-f]*:[\da-f]*:[\da-f:.]*$/i

const withPort = (host: unknown, port: unknown): unknown => {
  if (port === undefined || !Predicate.isString(host)) return host
  const name = ipv6.test(host) ? `[${host}]` : host
  return hostOnly.test(name) ? `${name}:${String(port)}` : host
}

const noAddress = "expected a URL, or a host with its port"

/** The URL that a text is, or that is made of `host:port`. */
const urlOf = (text: unknown, hints: Hints): Result.Result<string, string> =>
  Result.gen(function*() {
    const isUrl = Predicate.isString(text) && /^[a-z][a-z\d+.-]*:\/\//i.test(text)
    if (!isUrl && !(Predicate.isString(text) && hostAndPort.test(text))) {
      return yield* Result.fail(noAddress)
    }
    const url = URL.parse(isUrl ? text : `${yield* schemeOf(hints.scheme)}://${text}`)
    if (url === null || !schemes.includes(url.protocol.slice(0, -1))) {
      return yield* Result.fail("expected an http(s) or ws(s) URL")
    }
    if (url.port === "0" || everywhere.includes(url.hostname)) {
      return yield* Result.fail("that is where it listens, not where it is reached")
    }
    if (url.username !== "" || url.password !== "") {
      return yield* Result.fail("a user name or password can't be part of it; give it as `headers`")
    }
    // Kratos writes http://10.0.0.7:8000?isSecure=true.
    const marked = yield* flagOf(url.searchParams.get("isSecure") ?? undefined)
    if (url.searchParams.has("isSecure")) url.searchParams.delete("isSecure")
    if (marked || (yield* flagOf(hints.secure))) url.protocol = url.protocol.replace(/s?:$/, "s:")
    if (!isUrl || !/^[^/]+\/\/[^/?#]+\//.test(text)) url.pathname = yield* pathOf(hints.path)
    return url.href
  })

const schemes: ReadonlyArray<string> = ["http", "https", "ws", "wss"]

const everywhere: ReadonlyArray<string> = ["0.0.0.0", "[::]"]

const transportAt = (url: string) => url.startsWith("ws") ? "websocket" : "streamable-http"

const schemeOf = (scheme: unknown = "http"): Result.Result<string, string> =>
  Predicate.isString(scheme) && schemes.includes(scheme)
    ? Result.succeed(scheme)
    : Result.fail("its scheme is none of http, https, ws and wss")

const flagOf = (flag: unknown = false): Result.Result<boolean, string> => {
  if (flag === true || flag === "true") return Result.succeed(true)
  if (flag === false || flag === "false") return Result.succeed(false)
  return Result.fail("whether TLS is spoken there must be true or false")
}

const pathOf = (path: unknown = "/mcp"): Result.Result<string, string> =>
  Predicate.isString(path) ? Result.succeed(path) : Result.fail("its path is no text")

/** A JSON array, or the text of one, or a comma list. */
const listOf = (field: string, value: unknown): Result.Result<unknown, string> => {
  if (!Predicate.isString(value)) return Result.succeed(value)
  if (!value.trim().startsWith("[")) {
    return Result.succeed(value.split(",").map((part) => part.trim()).filter((part) => part !== ""))
  }
  return Result.try({ try: (): unknown => JSON.parse(value), catch: () => `${field}: not JSON` })
}

// Text that is no number is kept, for the schema to name it.
const numberOf = (value: unknown) =>
  !Predicate.isString(value) || value.trim() === "" || Number.isNaN(Number(value)) ? value : Number(value)

/** Go writes names with a capital, and `null` for what isn't there. Of two names, the one without a capital counts. */
const uncapitalized = (fields: Fields): Fields =>
  Object.fromEntries(
    Object.entries(fields).flatMap(([written, value]) => {
      const name = `${written.slice(0, 1).toLowerCase()}${written.slice(1)}`
      return value === null || (name !== written && Object.hasOwn(fields, name) && fields[name] !== null)
        ? []
        : [[name, value]]
    })
  )

const defined = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
