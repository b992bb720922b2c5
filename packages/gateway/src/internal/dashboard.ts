/**
 * The dashboard: a folder of built files, served to browsers.
 *
 * **Mental model**: the folder is read once, when somebody first asks, and answered from memory; what isn't in it can't be
 * had. `index.html` stands for every page of the dashboard, with a base that leads back to where the gateway is, so that a
 * proxy may serve it under any path. Whoever doesn't ask for HTML gets what the gateway says without a dashboard.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { matches, strong } from "./etag.ts"

type Answer = (
  request: HttpServerRequest.HttpServerRequest
) => Effect.Effect<HttpServerResponse.HttpServerResponse | undefined>

/** Service that answers what belongs to the dashboard; nothing where it doesn't, or there is none. */
export class Dashboard extends Context.Service<Dashboard, {
  readonly answer: Answer
}>()("@portolan/gateway/internal/Dashboard") {}

/** Nothing but what the gateway serves itself; no inline scripts or styles; in nobody's frame. */
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; " +
  "img-src 'self' data:; worker-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"

const safety = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin"
}

const htmlType = "text/html; charset=utf-8"

const types: Readonly<Record<string, string>> = {
  ".html": htmlType,
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".woff2": "font/woff2"
}

/** Names of encodings by the extension that the build gives the encoded file, the better ones first. */
const encodings = [[".br", "br"], [".gz", "gzip"]] as const

interface Representation {
  readonly bytes: Uint8Array
  readonly etag: string
  readonly encoding: string | undefined
}

interface File {
  readonly type: string
  readonly cacheControl: string
  /** The smallest first, the file itself at the end. */
  readonly representations: ReadonlyArray<Representation>
}

interface Files {
  readonly index: string
  /** By path, as it is asked for. */
  readonly assets: ReadonlyMap<string, File>
}

const indexName = "/index.html"

/** The build puts what has a hash in its name there: that never changes. */
const hashed = "/assets/"

const representation = (bytes: Uint8Array, encoding: string | undefined): Representation => ({
  bytes,
  etag: strong(bytes),
  encoding
})

const read = async (folder: string): Promise<Files> => {
  const entries = await Fs.readdir(folder, { recursive: true, withFileTypes: true })
  const contents = new Map(
    await Promise.all(
      entries.filter((entry) => entry.isFile()).map(async ({ name, parentPath }): Promise<[string, Uint8Array]> => {
        const path = Path.join(parentPath, name)
        return [`/${Path.relative(folder, path).replaceAll(Path.sep, "/")}`, await Fs.readFile(path)]
      })
    )
  )
  const index = contents.get(indexName)
  if (index === undefined) throw new Error(`there is no index.html in ${folder}`)
  const assets = new Map<string, File>()
  for (const [path, bytes] of contents) {
    if (path === indexName || encodings.some(([extension]) => path.endsWith(extension))) continue
    const encoded = encodings.flatMap(([extension, encoding]) => {
      const bytes = contents.get(path + extension)
      return bytes === undefined ? [] : [representation(bytes, encoding)]
    })
    assets.set(path, {
      type: types[Path.extname(path)] ?? "application/octet-stream",
      cacheControl: path.startsWith(hashed) ? "public, max-age=31536000, immutable" : "no-cache",
      representations: [...encoded, representation(bytes, undefined)]
    })
  }
  return { index: new TextDecoder().decode(index), assets }
}

/** Whether a header that lists names, each with a weight, has this name. */
const lists = (header: string | undefined, name: string): boolean =>
  (header ?? "").toLowerCase().split(",").some((item) => {
    const [listed = "", ...parameters] = item.split(";").map((part) => part.trim())
    return listed === name && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))
  })

/** What others answer, and browsers are told so where they don't. */
const elsewhere = /^\/(api|mcp|sse|messages|v0\.1|\.well-known)(\/|$)/

const answered = (
  request: HttpServerRequest.HttpServerRequest,
  { bytes, encoding, etag }: Representation,
  contentType: string,
  headers: Readonly<Record<string, string>>
): HttpServerResponse.HttpServerResponse => {
  const all = {
    ...safety,
    ...headers,
    etag,
    ...encoding === undefined ? {} : { "content-encoding": encoding }
  }
  return matches(request.headers["if-none-match"], etag)
    ? HttpServerResponse.empty({ status: 304, headers: all })
    : HttpServerResponse.uint8Array(bytes, { contentType, headers: all })
}

const notAllowed = HttpServerResponse.jsonUnsafe(
  { type: "about:blank", status: 405, title: "Method not allowed", detail: "the dashboard is only read: GET, HEAD" },
  { status: 405, contentType: "application/problem+json", headers: { allow: "GET, HEAD" } }
)

const page = (request: HttpServerRequest.HttpServerRequest, path: string, index: string) => {
  // One step for each folder that the path is in.
  const base = "../".repeat(path.split("/").length - 2) || "./"
  const bytes = new TextEncoder().encode(index.replace(/(<base href=")[^"]*/, (_, start: string) => start + base))
  return answered(request, representation(bytes, undefined), htmlType, {
    "cache-control": "no-cache",
    vary: "Origin, Accept"
  })
}

/** Answers with the files of a folder. */
export const make = (folder: string): Answer => {
  // What couldn't be read is tried again, and not with each request.
  const files = Effect.runSync(Effect.cachedWithTTL(
    Effect.tryPromise(() => read(folder)).pipe(
      Effect.tapError(({ cause }) =>
        Effect.logWarning(`there is no dashboard: ${cause instanceof Error ? cause.message : String(cause)}`)
      ),
      Effect.option
    ),
    (exit) => Exit.isSuccess(exit) && Option.isSome(exit.value) ? Duration.infinity : Duration.seconds(5)
  ))
  return (request) =>
    Effect.map(files, (known) => {
      if (Option.isNone(known)) return undefined
      const files = known.value
      const [path = "/"] = request.url.split("?", 1)
      const reads = request.method === "GET" || request.method === "HEAD"
      const file = files.assets.get(path)
      if (file !== undefined) {
        if (!reads) return notAllowed
        const best = file.representations.find(({ encoding }) =>
          encoding === undefined || lists(request.headers["accept-encoding"], encoding)
        )
        return best === undefined ? undefined : answered(request, best, file.type, {
          "cache-control": file.cacheControl,
          vary: "Origin, Accept-Encoding"
        })
      }
      const isPage = reads && lists(request.headers["accept"], "text/html") && !elsewhere.test(path) &&
        !path.startsWith(hashed)
      return isPage ? page(request, path, files.index) : undefined
    })
}
