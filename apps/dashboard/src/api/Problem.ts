/**
 * Why the gateway didn't do what it was asked for, as it says it (RFC 9457): what happened, where, and what to do.
 */

export interface Mistake {
  readonly path: string
  readonly message: string
}

interface Details {
  readonly status: number
  readonly title: string
  readonly detail?: string | undefined
  readonly errors?: ReadonlyArray<Mistake> | undefined
}

export class Problem extends Error {
  override readonly name = "Problem"
  /** 0: no answer came. */
  readonly status: number
  readonly title: string
  readonly detail: string | undefined
  /** Each wrong value: where it is, and what is wrong with it. */
  readonly errors: ReadonlyArray<Mistake> | undefined

  constructor({ detail, errors, status, title }: Details) {
    super(detail === undefined ? title : `${title}: ${detail}`)
    this.status = status
    this.title = title
    this.detail = detail
    this.errors = errors
  }
}

const textIn = (from: object, name: string): string | undefined => {
  const value: unknown = Reflect.get(from, name)
  return typeof value === "string" ? value : undefined
}

const mistakesIn = (from: object): ReadonlyArray<Mistake> | undefined => {
  const value: unknown = Reflect.get(from, "errors")
  if (!Array.isArray(value)) return undefined
  return value.flatMap((item: unknown) => {
    if (typeof item !== "object" || item === null) return []
    const message = textIn(item, "message")
    return message === undefined ? [] : [{ path: textIn(item, "path") ?? "", message }]
  })
}

/** Of an answer that isn't a success, whoever gave it: a proxy between may answer with a page of its own. */
export const problemOf = async (response: Response): Promise<Problem> => {
  const body: unknown = await response.json().catch(() => undefined)
  const told = typeof body === "object" && body !== null ? body : {}
  return new Problem({
    status: response.status,
    title: textIn(told, "title") ?? (response.statusText === "" ? `Status ${response.status}` : response.statusText),
    detail: textIn(told, "detail"),
    errors: mistakesIn(told)
  })
}

/** Of whatever was thrown. */
export const asProblem = (cause: unknown): Problem =>
  cause instanceof Problem
    ? cause
    : cause instanceof DOMException && cause.name === "TimeoutError"
    ? new Problem({ status: 0, title: "No answer yet", detail: "the gateway takes too long" })
    : cause instanceof TypeError
    ? new Problem({ status: 0, title: "No answer", detail: "the gateway can't be reached" })
    : new Problem({ status: 0, title: "Failed", detail: cause instanceof Error ? cause.message : String(cause) })
