/**
 * What goes wrong with etcd, each in one line.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Schema from "effect/Schema"
import { Failure } from "./wire.ts"

/**
 * Error raised when etcd can't be reached or refuses: one line for a person.
 *
 * @category errors
 * @since 0.1.0
 */
export class EtcdError extends Data.TaggedError("EtcdError")<{
  readonly reason: string
  /** The gRPC status that etcd gave; 9 is a failed precondition. */
  readonly code?: number | undefined
  readonly unauthorized?: boolean | undefined
  /** Whether it is this member that can't serve now: another one may. */
  readonly unavailable?: boolean | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.reason
  }
}

/** What etcd says of credentials, and the next step. Some of it comes with the status of a bad request. */
const credentials = [
  ["user name is empty", "set username and password"],
  ["invalid user ID or password", "check username and password"],
  ["permission denied", "the user needs a role that may read and write the prefix"],
  ["CommonName of client", "where users have passwords, its gateway wants a certificate without a common name"],
  ["invalid auth token", undefined],
  ["revision of auth store is old", undefined]
] as const

/** What etcd says when it refuses. */
export const explain = (said: string, status?: number, code?: number): EtcdError => {
  const reason = said.replace(/^rpc error: code = \w+ desc = /, "")
  const known = credentials.find(([text]) => reason.includes(text))
  return new EtcdError({
    reason: known?.[1] === undefined ? reason : `${reason}: ${known[1]}`,
    code,
    // 16 is unauthenticated, 7 permission denied, 14 unavailable.
    unauthorized: known !== undefined || status === 401 || status === 403 || code === 16 || code === 7,
    unavailable: (status ?? 0) >= 500 || code === 14
  })
}

/** A failure as etcd writes it down. */
export const failure = ({ code, error, grpc_code, message }: typeof Failure.Type, status?: number): EtcdError => {
  const said = message ?? (typeof error === "string" ? error : "etcd refused without a reason")
  const grpc = code ?? grpc_code
  return explain(status === 404 && grpc === undefined ? `${said} (HTTP 404)` : said, status, grpc)
}

/** An answer that isn't one of success. */
export const refused = (status: number, body: string): EtcdError => {
  const parsed = Schema.decodeUnknownOption(Schema.fromJsonString(Failure))(body)
  if (parsed._tag === "Some") return failure(parsed.value, status)
  // Before its gateway etcd speaks in plain text; what isn't etcd may answer with a page.
  const [said = ""] = body.trim().split("\n")
  return explain(`etcd answered HTTP ${status}${/^[^<{]/.test(said) ? `: ${said.slice(0, 200)}` : ""}`, status)
}

export const garbled = (path: string): EtcdError =>
  new EtcdError({ reason: `etcd's answer to ${path} can't be read; is this an etcd of version 3.4 or newer?` })

export const unreachable = (endpoint: string, error: HttpClientError.HttpClientError): EtcdError => {
  const cause = "cause" in error.reason ? error.reason.cause : undefined
  // A name with several addresses fails with the failures of all of them.
  const first = cause instanceof AggregateError ? cause.errors[0] : cause
  const what = first instanceof Error && first.message !== "" ? first.message : error.message
  return new EtcdError({ reason: `etcd at ${endpoint} can't be reached: ${what}`, unavailable: true, cause: error })
}

export const silent = (endpoint: string, timeout: Duration.Duration): EtcdError =>
  new EtcdError({
    reason: `etcd at ${endpoint} gave no answer within ${Duration.format(timeout)}`,
    unavailable: true
  })

export const closed = (endpoint: string, cause: HttpClientError.HttpClientError): EtcdError =>
  new EtcdError({ reason: `etcd at ${endpoint} closed the connection`, unavailable: true, cause })
