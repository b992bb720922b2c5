/**
 * One server of an `mcpServers` or `servers` object, in the form that Claude Desktop, Cursor and VS Code share.
 *
 * @since 0.1.0
 */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import { parseEnv } from "node:util"
import type { Finding, Path as DocumentPath } from "../internal/document.ts"
import { Reference } from "./Secret.ts"

const Texts = Schema.Array(Schema.String)
const TextByName = Schema.Record(Schema.String, Schema.String)

/** Values of `type`, and the transports they stand for. */
const transports = {
  stdio: "stdio",
  http: "streamable-http",
  "streamable-http": "streamable-http",
  streamableHttp: "streamable-http",
  sse: "sse",
  ws: "websocket",
  websocket: "websocket"
} as const

const typeNames = ["stdio", "http", "streamable-http", "streamableHttp", "sse", "ws", "websocket"] as const

const pem = (description: string) => Schema.optionalKey(Reference.annotate({ description }))

const TlsEntry = Schema.Struct({
  ca: pem("PEM file with the authorities that the server's certificate must come from"),
  cert: pem("PEM file with our certificate, for servers that ask for one"),
  key: pem("PEM file with the key of `cert`"),
  passphrase: Schema.optionalKey(Reference.annotate({ description: "Of the key" })),
  serverName: Schema.optionalKey(
    Schema.NonEmptyString.annotate({ description: "Name in the server's certificate, where that isn't the URL's host" })
  )
})

const AuthEntry = Schema.Union([
  Schema.Struct({
    type: Schema.Literal("client-credentials"),
    clientId: Schema.NonEmptyString,
    clientSecret: Reference.annotate({ description: "Text, or a reference {env: …} or {file: …}" }),
    scope: Schema.optionalKey(
      Schema.String.annotate({ description: "What to ask for; what the server names, by default" })
    ),
    tokenUrl: Schema.optionalKey(
      Schema.NonEmptyString.annotate({
        description: "Where tokens are got; found by the server's metadata, by default"
      })
    )
  }),
  Schema.Struct({
    type: Schema.Literal("authorization-code"),
    clientId: Schema.optionalKey(
      Schema.NonEmptyString.annotate({ description: "Registered beforehand; without one Portolan registers itself" })
    ),
    clientSecret: Schema.optionalKey(Reference),
    scope: Schema.optionalKey(Schema.String),
    store: Schema.optionalKey(
      Schema.NonEmptyString.annotate({ description: "File of the token; one in the state directory by default" })
    )
  })
]).annotate({ expected: "type client-credentials (with clientId and clientSecret) or authorization-code" })

/**
 * Schema of a server entry. What only concerns the client that it was written for is read over.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServerEntry = Schema.Struct({
  type: Schema.optionalKey(
    Schema.Literals(typeNames).annotate({ description: "Transport; without it, `command` means stdio and `url` http" })
  ),
  command: Schema.optionalKey(Schema.NonEmptyString.annotate({ description: "Program of a stdio server" })),
  args: Schema.optionalKey(Texts),
  env: Schema.optionalKey(TextByName.annotate({ description: "Environment of the program" })),
  envFile: Schema.optionalKey(
    Schema.NonEmptyString.annotate({ description: "File with lines NAME=value; `env` wins" })
  ),
  cwd: Schema.optionalKey(
    Schema.NonEmptyString.annotate({ description: "Working directory, relative to the configuration file" })
  ),
  url: Schema.optionalKey(
    Schema.NonEmptyString.annotate({ description: "Address of an HTTP, SSE or WebSocket server" })
  ),
  headers: Schema.optionalKey(TextByName.annotate({ description: "Headers of each request" })),
  tls: Schema.optionalKey(TlsEntry.annotate({ description: "Certificates towards an https or wss server" })),
  auth: Schema.optionalKey(AuthEntry.annotate({ description: "OAuth 2 towards the server" })),
  disabled: Schema.optionalKey(Schema.Boolean.annotate({ description: "Leaves the server out" })),
  service: Schema.optionalKey(
    Schema.NonEmptyString.annotate({ description: "Name of the service; the key by default" })
  ),
  version: Schema.optionalKey(Schema.String),
  capabilities: Schema.optionalKey(Texts),
  tags: Schema.optionalKey(Texts),
  // Settings of clients that change nothing about the server.
  autoApprove: Schema.optionalKey(Schema.Unknown),
  alwaysAllow: Schema.optionalKey(Schema.Unknown),
  description: Schema.optionalKey(Schema.String),
  dev: Schema.optionalKey(Schema.Unknown),
  gallery: Schema.optionalKey(Schema.Unknown)
})
export type ServerEntry = typeof ServerEntry.Type

/**
 * What turning an entry into an instance needs of the outside.
 *
 * @category models
 * @since 0.1.0
 */
export interface EntryContext {
  /** Relative paths start here. */
  readonly directory: string
  /** Text of a file, or why it can't be read, without its path. */
  readonly readFile: (path: string) => Result.Result<string, string>
}

/**
 * Mistake in an entry; its path begins inside the entry.
 *
 * @category models
 * @since 0.1.0
 */
export type EntryMistake = Pick<Finding, "path" | "message">

/** Files begin in the directory of the configuration. */
const secretIn = (directory: string, secret: Reference): Reference =>
  typeof secret !== "string" && "file" in secret ? { file: Path.resolve(directory, secret.file) } : secret

const pemIn = (directory: string, file: Reference): Reference =>
  typeof file === "string" ? Path.resolve(directory, file) : secretIn(directory, file)

const tlsIn = (directory: string, { ca, cert, key, passphrase, ...rest }: typeof TlsEntry.Type) => ({
  ...rest,
  ...(ca === undefined ? {} : { ca: pemIn(directory, ca) }),
  ...(cert === undefined ? {} : { cert: pemIn(directory, cert) }),
  ...(key === undefined ? {} : { key: pemIn(directory, key) }),
  ...(passphrase === undefined ? {} : { passphrase: secretIn(directory, passphrase) })
})

const authIn = (directory: string, auth: typeof AuthEntry.Type) => ({
  ...auth,
  ...(auth.clientSecret === undefined ? {} : { clientSecret: secretIn(directory, auth.clientSecret) }),
  ...("store" in auth && auth.store !== undefined ? { store: Path.resolve(directory, auth.store) } : {})
})

/**
 * Makes the instance that an entry announces: its id is the entry's key.
 *
 * @category converting
 * @since 0.1.0
 */
export const toInstance = (
  key: string,
  entry: ServerEntry,
  context: EntryContext
): Result.Result<ServiceInstance.ServiceInstance, ReadonlyArray<EntryMistake>> => {
  const mistakes: Array<EntryMistake> = []
  const mistake = (path: DocumentPath, message: string) => void mistakes.push({ path, message })

  const transport = entry.type !== undefined
    ? transports[entry.type]
    : entry.command !== undefined
    ? "stdio"
    : "streamable-http"
  const remote = transport !== "stdio"
  if (entry.command === undefined && entry.url === undefined) {
    mistake([], "expected `command` (a program to start) or `url` (a server to reach)")
  } else if (entry.command !== undefined && entry.url !== undefined) {
    mistake(["url"], "expected either `command` or `url`, not both")
  } else if (remote && entry.url === undefined) {
    mistake(["type"], `type ${entry.type} needs \`url\``)
  } else if (!remote && entry.command === undefined) {
    mistake(["type"], "type stdio needs `command`")
  }
  for (const name of remote ? ["args", "env", "envFile", "cwd"] as const : ["headers", "tls", "auth"] as const) {
    if (entry[name] !== undefined) mistake([name], `\`${name}\` has no meaning for a ${transport} server`)
  }
  if (entry.tls !== undefined && (entry.tls.cert === undefined) !== (entry.tls.key === undefined)) {
    mistake(["tls"], "`cert` and `key` belong together")
  }
  if (entry.tls !== undefined && /^(http|ws):/i.test(entry.url ?? "")) {
    mistake(["tls"], "`tls` needs a URL that begins with https or wss")
  }
  if (
    entry.auth !== undefined && Object.keys(entry.headers ?? {}).some((name) => name.toLowerCase() === "authorization")
  ) mistake(["auth"], "expected either `auth` or a header Authorization, not both")
  if (entry.auth?.type === "client-credentials" && entry.auth.tokenUrl !== undefined) {
    const protocol = URL.parse(entry.auth.tokenUrl)?.protocol ?? ""
    if (!["http:", "https:"].includes(protocol)) mistake(["auth", "tokenUrl"], "expected an http(s) URL")
  }

  let env = entry.env
  if (!remote && entry.envFile !== undefined) {
    const read = Result.map(context.readFile(Path.resolve(context.directory, entry.envFile)), parseEnv)
    if (Result.isFailure(read)) mistake(["envFile"], `can't read ${entry.envFile}: ${read.failure}`)
    else {
      const texts = Object.entries(read.success).filter((pair): pair is [string, string] => pair[1] !== undefined)
      env = { ...Object.fromEntries(texts), ...entry.env }
    }
  }
  if (mistakes.length > 0) return Result.fail(mistakes)

  const decoded = ServiceInstance.decode({
    id: key,
    service: entry.service ?? key,
    ...(entry.version === undefined ? {} : { version: entry.version }),
    ...(entry.capabilities === undefined ? {} : { capabilities: entry.capabilities }),
    ...(entry.tags === undefined ? {} : { tags: entry.tags }),
    endpoint: remote
      ? {
        transport,
        url: entry.url,
        ...(entry.headers === undefined ? {} : { headers: entry.headers }),
        ...(entry.tls === undefined ? {} : { tls: tlsIn(context.directory, entry.tls) }),
        ...(entry.auth === undefined ? {} : { auth: authIn(context.directory, entry.auth) })
      }
      : {
        transport,
        command: entry.command,
        ...(entry.args === undefined ? {} : { args: entry.args }),
        ...(env === undefined ? {} : { env }),
        ...(entry.cwd === undefined ? {} : { cwd: Path.resolve(context.directory, entry.cwd) })
      }
  })
  return Result.mapError(decoded, (reason) =>
    reason.split("; ").map((line) => {
      const [, field, message] = /^(?:endpoint\.)?(\w+): (.*)$/.exec(line) ?? []
      return field !== undefined && message !== undefined && Object.hasOwn(entry, field)
        ? { path: [field], message }
        : { path: [], message: line }
    }))
}
