/**
 * What goes wrong with Kubernetes, each in one line.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * Error raised when the API server can't be reached or refuses: one line for a person.
 *
 * @category errors
 * @since 0.2.0
 */
export class KubernetesError extends Data.TaggedError("KubernetesError")<{
  readonly reason: string
  /** The HTTP status, or that of an event in a watch; none: there was no answer. */
  readonly status?: number | undefined
  /** Seconds for which the server wants to be left alone. */
  readonly retryAfter?: number | undefined
  /** Whether what was read before can't be gone on from: everything has to be read anew. */
  readonly anew?: boolean | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.reason
  }
  get unauthorized(): boolean {
    return this.status === 401 || this.status === 403
  }
}

/** What was asked, as rights name it. */
export interface Asked {
  readonly verb: string
  readonly resource: string
  /** Empty: all of them. */
  readonly namespace: string
}

const Status = Schema.Struct({
  code: Schema.optionalKey(Schema.Int),
  message: Schema.optionalKey(Schema.String)
})
const readStatus = Schema.decodeUnknownOption(Status)
const readBody = Schema.decodeUnknownOption(Schema.fromJsonString(Status))

/** An answer that isn't one of success. */
export const refusal = (
  asked: Asked,
  status: number,
  body: string,
  retryAfter: string | undefined
): KubernetesError => {
  const said = oneLine(Option.match(readBody(body), { onNone: () => "", onSome: ({ message = "" }) => message }))
  const seconds = Number(retryAfter)
  return new KubernetesError({
    reason: reasonOf(asked, status, said),
    status,
    // What is too old, or is no version to this server.
    anew: status === 410 || status === 400,
    ...(retryAfter !== undefined && seconds > 0 ? { retryAfter: seconds } : {})
  })
}

const reasonOf = ({ namespace, resource, verb }: Asked, status: number, said: string): string => {
  const where = namespace === "" ? "in all namespaces" : `in namespace "${namespace}"`
  switch (status) {
    case 401:
      return "the API server takes neither our token nor our certificate: are they still valid?"
    case 403: {
      // Quotas, admission and a namespace that ends refuse with it too, and no right would help.
      const [, user] = /User "([^"]+)" cannot /.exec(said) ?? []
      if (user === undefined && said !== "") break
      if (user === "system:anonymous") {
        return `the API server takes us for nobody (${user}): the kubeconfig's context has no user with credentials`
      }
      const to = user === undefined ? "" : ` to ${user}`
      const everywhere = namespace === "" ? " in the whole cluster, or set namespaces" : ""
      return `can't ${verb} ${resource} ${where}: grant the verb ${verb} on ${resource}${to}${everywhere}`
    }
    case 404:
      // Of a single object it says which one.
      return verb === "list" || verb === "watch"
        ? `the API server knows no ${resource}: is this Kubernetes 1.21 or newer?`
        : said === ""
        ? `there is no such one of ${resource} ${where}`
        : said
  }
  return `can't ${verb} ${resource} ${where}: ${said === "" ? `HTTP ${status}` : `${said} (HTTP ${status})`}`
}

/** The event with which a watch ends. */
export const ending = (asked: Asked, object: unknown): KubernetesError => {
  const { code = 500, message = "" } = Option.getOrElse(readStatus(object), (): typeof Status.Type => ({}))
  // Of anything but a server that is overloaded or stumbled, nothing says that the same question would do better.
  return new KubernetesError({
    reason: reasonOf(asked, code, oneLine(message)),
    status: code,
    anew: code !== 429 && code < 500
  })
}

export const garbled = ({ resource, verb }: Asked): KubernetesError =>
  new KubernetesError({
    reason: `what came back for ${verb} ${resource} can't be read; is this an API server of Kubernetes?`,
    anew: true
  })

export const unreachable = (server: string, cause: unknown): KubernetesError => {
  // A name with several addresses fails with the failures of all of them.
  const first = cause instanceof AggregateError ? cause.errors[0] : cause
  const what = first instanceof Error && first.message !== "" ? first.message : String(first)
  return new KubernetesError({ reason: `the API server at ${server} can't be reached: ${oneLine(what)}`, cause })
}

/** What others say may be long, and of many lines. */
export const oneLine = (text: string): string => (text.trim().split("\n")[0] ?? "").slice(0, 300)
