/**
 * Asks the gateway's REST API. What it refuses is thrown as a `Problem`.
 */
import { access } from "./access.svelte.ts"
import { asProblem, problemOf } from "./Problem.ts"

/** How long an answer is waited for, ms. Some of what is changed is tried out first, or read from afar. */
const patience = { read: 10_000, write: 60_000 }

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** `instances/x/mark` with its query, at the gateway that served the page. */
const address = (path: string, query: RequestOptions["query"] = {}): URL => {
  const url = new URL(`api/v1/${path}`, document.baseURI)
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") url.searchParams.set(name, String(value))
  }
  return url
}

/** What came, and the tag by which a write can say what it was made from. */
export interface Answer<A> {
  readonly body: A
  readonly etag: string | undefined
}

export const answer = async <A>(
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  options: RequestOptions = {}
): Promise<Answer<A>> => {
  const { body, headers, query, signal } = options
  const late = AbortSignal.timeout(method === "GET" ? patience.read : patience.write)
  try {
    const response = await fetch(address(path, query), {
      method,
      headers: {
        accept: "application/json",
        ...body === undefined ? {} : { "content-type": "application/json" },
        ...access.headers,
        ...headers
      },
      ...body === undefined ? {} : { body: JSON.stringify(body) },
      signal: signal === undefined ? late : AbortSignal.any([signal, late])
    })
    if (!response.ok) {
      // Who may write has changed since it was asked.
      if (method !== "GET" && (response.status === 401 || response.status === 403)) void access.check()
      throw await problemOf(response)
    }
    return {
      body: response.status === 204 ? undefined : await response.json(),
      etag: response.headers.get("etag") ?? undefined
    }
  } catch (cause) {
    if (signal?.aborted === true) throw cause
    throw asProblem(cause)
  }
}

/** The body of the answer alone. */
export const request = async <A>(
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  options: RequestOptions = {}
): Promise<A> => (await answer<A>(method, path, options)).body
