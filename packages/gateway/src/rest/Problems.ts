/**
 * The problems (RFC 9457) that the REST API answers with.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9457
 * @since 0.1.0
 */
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as Schema from "effect/Schema"
import { MarkView } from "./Representations.ts"

const type = "about:blank"

/**
 * One wrong value: where it is, and what is wrong with it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Mistake = Schema.Struct({
  path: Schema.String.annotate({ description: "Name of the parameter, or where in the body: `endpoint.url`" }),
  message: Schema.String
}).annotate({ identifier: "Mistake" })
export type Mistake = typeof Mistake.Type

const errors = Schema.optionalKey(Schema.Array(Mistake))

/**
 * Problem answered when a parameter or the body can't be used; it names every wrong value.
 *
 * @category errors
 * @since 0.1.0
 */
export class BadRequest extends HttpApiError.Problem<BadRequest>()(
  "BadRequest",
  { type, title: "Bad request", status: 400 },
  { errors }
) {}

/**
 * Problem answered when a write carries no token, or a wrong one.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unauthorized extends HttpApiError.Problem<Unauthorized>()("Unauthorized", {
  type,
  title: "Token required",
  status: 401
}) {}

/**
 * Problem answered when whoever asks may not do this.
 *
 * @category errors
 * @since 0.1.0
 */
export class Forbidden extends HttpApiError.Problem<Forbidden>()("Forbidden", {
  type,
  title: "Not allowed",
  status: 403
}) {}

/**
 * Problem answered when nothing has this name.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends HttpApiError.Problem<NotFound>()("NotFound", {
  type,
  title: "Not found",
  status: 404
}) {}

/**
 * Problem answered when no representation is one that the client accepts.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotAcceptable extends HttpApiError.Problem<NotAcceptable>()("NotAcceptable", {
  type,
  title: "Not acceptable",
  status: 406
}) {}

/**
 * Problem answered when something stands in the way of a write: `source` is the registry that does.
 *
 * @category errors
 * @since 0.1.0
 */
export class Conflict extends HttpApiError.Problem<Conflict>()(
  "Conflict",
  { type, title: "Conflict", status: 409 },
  { source: Schema.optionalKey(Schema.String) }
) {}

/**
 * Problem answered when the instance is no longer what `If-Match` names: who changed it, when, and its present ETag; where
 * its mark changed, what that is now.
 *
 * @category errors
 * @since 0.1.0
 */
export class PreconditionFailed extends HttpApiError.Problem<PreconditionFailed>()(
  "PreconditionFailed",
  { type, title: "Changed meanwhile", status: 412 },
  {
    source: Schema.optionalKey(Schema.String),
    changedAt: Schema.optionalKey(Schema.String.annotate({ description: "ISO 8601" })),
    etag: Schema.optionalKey(Schema.String),
    mark: Schema.optionalKey(MarkView)
  }
) {}

/**
 * Problem answered when a record is larger than one may be.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooLarge extends HttpApiError.Problem<TooLarge>()("TooLarge", {
  type,
  title: "Too large",
  status: 413
}) {}

/**
 * Problem answered when the gateway failed.
 *
 * @category errors
 * @since 0.1.0
 */
export class Internal extends HttpApiError.Problem<Internal>()("Internal", {
  type,
  title: "Internal error",
  status: 500
}) {}

/**
 * Problem answered when a registry failed, with what it said.
 *
 * @category errors
 * @since 0.1.0
 */
export class RegistryFailed extends HttpApiError.Problem<RegistryFailed>()(
  "RegistryFailed",
  { type, title: "The registry failed", status: 502 },
  { source: Schema.optionalKey(Schema.String) }
) {}

/**
 * Problem answered when a limit of the gateway is reached.
 *
 * @category errors
 * @since 0.1.0
 */
export class Overloaded extends HttpApiError.Problem<Overloaded>()("Overloaded", {
  type,
  title: "Limit reached",
  status: 503
}) {}

/** Says mistakes in one line. */
const lineOf = (mistakes: ReadonlyArray<Mistake>): string =>
  mistakes.map(({ message, path }) => path === "" ? message : `${path}: ${message}`).join("; ")

/**
 * Makes the problem that tells these mistakes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mistaken = (mistakes: ReadonlyArray<Mistake>): BadRequest =>
  new BadRequest({ detail: lineOf(mistakes), errors: mistakes })
