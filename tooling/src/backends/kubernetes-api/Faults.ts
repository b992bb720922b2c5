/**
 * What goes wrong on request: refused requests and rights that are taken away.
 *
 * @since 0.2.0
 */
import { Refusal } from "./Answer.ts"
import type { Verb } from "./Resource.ts"

/**
 * What a request asks for, as rules of access tell requests apart. Empty where it leads to no resource.
 *
 * @category models
 * @since 0.2.0
 */
export interface Asked {
  readonly verb: Verb | ""
  /** `services`, `deployments/scale`. */
  readonly resource: string
  /** Empty for all namespaces. */
  readonly namespace: string
  /** Empty for a whole collection. */
  readonly name: string
}

/**
 * Whether a request is meant.
 *
 * @category guards
 * @since 0.2.0
 */
export const isMeant = (which: Partial<Asked>, asked: Asked): boolean =>
  (which.verb ?? asked.verb) === asked.verb && (which.resource ?? asked.resource) === asked.resource &&
  (which.namespace ?? asked.namespace) === asked.namespace && (which.name ?? asked.name) === asked.name

/**
 * The faults of a server.
 *
 * @category models
 * @since 0.2.0
 */
export interface Faults {
  readonly refuse: (refusal: {
    readonly status: number
    readonly times?: number | undefined
    readonly retryAfter?: number | undefined
    readonly which?: Partial<Asked> | undefined
  }) => void
  readonly deny: (which: Partial<Asked>) => void
  readonly heal: () => void
  /** The refusal that this request meets, which is used up by it. */
  readonly next: (asked: Asked) => Refusal | undefined
  readonly denies: (asked: Asked) => boolean
}

/**
 * A server without faults.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (): Faults => {
  const denied: Array<Partial<Asked>> = []
  let refusals: ReadonlyArray<{ readonly refusal: Refusal; readonly which: Partial<Asked>; left: number }> = []
  return {
    refuse: ({ retryAfter, status, times = 1, which = {} }) => {
      refusals = [...refusals, { refusal: refusalOf(status, retryAfter), which, left: times }]
    },
    deny: (which) => denied.push(which),
    heal: () => {
      refusals = []
      denied.length = 0
    },
    next: (asked) => {
      const met = refusals.find(({ left, which }) => left > 0 && isMeant(which, asked))
      if (met !== undefined) met.left--
      return met?.refusal
    },
    denies: (asked) => denied.some((which) => isMeant(which, asked))
  }
}

/** The words of Kubernetes for a status. */
const refusalOf = (status: number, retryAfter: number | undefined): Refusal => {
  const [reason, message] = words[status] ?? ["InternalError", "Internal error occurred: on request"]
  return new Refusal(status, reason, message, { retryAfter })
}

const words: Readonly<Record<number, readonly [reason: string, message: string]>> = {
  400: ["BadRequest", "on request"],
  401: ["Unauthorized", "Unauthorized"],
  403: ["Forbidden", "forbidden on request"],
  404: ["NotFound", "the server could not find the requested resource"],
  410: ["Expired", "The resourceVersion for the provided list is too old."],
  429: ["TooManyRequests", "too many requests, please try again later"],
  502: ["InternalError", "an error on the server prevented the request from succeeding"],
  503: ["ServiceUnavailable", "the server is currently unable to handle the request"],
  504: ["Timeout", "the server was unable to return a response in the time allotted"]
}
