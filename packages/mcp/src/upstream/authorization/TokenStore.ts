/**
 * Tokens that a person agreed to, in files that only their owner can read.
 *
 * @since 0.1.0
 */
import type * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Schema from "effect/Schema"
import { createHash, randomUUID } from "node:crypto"
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { homedir } from "node:os"
import * as Path from "node:path"

/** What such a file holds: the tokens, and what it takes to renew them. */
const StoredToken = Schema.Struct({
  /** Of the MCP server. */
  url: Schema.String,
  authorizationServer: Schema.String,
  resource: Schema.optionalKey(Schema.String),
  clientId: Schema.String,
  clientSecret: Schema.optionalKey(Schema.String),
  accessToken: Schema.String,
  refreshToken: Schema.optionalKey(Schema.String),
  scope: Schema.optionalKey(Schema.String),
  /** Epoch ms. */
  expiresAt: Schema.optionalKey(Schema.Finite)
})
/**
 * A token as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export type StoredToken = typeof StoredToken.Type

const decode = Schema.decodeUnknownPromise(Schema.fromJsonString(StoredToken))

/**
 * The file that holds the token of a server: the record's `store`, or one in `$XDG_STATE_HOME/portolan/tokens`.
 *
 * @category files
 * @since 0.1.0
 */
export const fileOf = (
  url: string,
  auth: Extract<ServiceInstance.Auth, { readonly type: "authorization-code" }>
): string => {
  if (auth.store !== undefined) return Path.resolve(auth.store)
  const state = process.env["XDG_STATE_HOME"]
  const directory = state === undefined || state === "" ? Path.join(homedir(), ".local", "state") : state
  const name = createHash("sha256").update(`${new URL(url).href}\n${auth.clientId ?? ""}`).digest("hex").slice(0, 32)
  return Path.join(directory, "portolan", "tokens", `${name}.json`)
}

/**
 * Reads a token; `undefined` where there is none. Rejects where the file can't be read or is none of ours.
 *
 * @category files
 * @since 0.1.0
 */
export const read = async (file: string): Promise<StoredToken | undefined> => {
  let text: string
  try {
    text = await readFile(file, "utf8")
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined
    throw new Error(`the token file ${file} can't be read`, { cause })
  }
  return decode(text).catch(() => {
    // The cause would show what stands in the file.
    throw new Error(`${file} is no token file`)
  })
}

/**
 * Writes a token in one step: a reader sees the old one or the new one.
 *
 * @category files
 * @since 0.1.0
 */
export const write = async (file: string, token: StoredToken): Promise<void> => {
  await mkdir(Path.dirname(file), { recursive: true, mode: 0o700 })
  const draft = `${file}.${randomUUID()}`
  try {
    await writeFile(draft, `${JSON.stringify(token, undefined, 2)}\n`, { mode: 0o600, flag: "wx" })
    await rename(draft, file)
  } catch (cause) {
    await rm(draft, { force: true })
    throw new Error(`the token file ${file} can't be written`, { cause })
  }
}
