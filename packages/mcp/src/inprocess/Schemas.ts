/**
 * The schemas of handlers: JSON Schema for clients, decoders for arguments, encoders for answers.
 *
 * @since 0.1.0
 */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as JsonSchema from "effect/JsonSchema"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import { type Fields, isFields } from "../JsonRpc.ts"

/**
 * The JSON Schema of a schema, in one object, which says that it is one of an object unless it says something else: clients
 * want to see that. What it refers to stands in its `$defs`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const jsonSchema = (schema: Schema.Constraint): Fields => {
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(schema)
  const { $ref: reference, ...rest } = root
  const named = typeof reference === "string" ? definitions[reference.slice(reference.lastIndexOf("/") + 1)] : undefined
  const whole = { type: "object", ...named, ...rest }
  return JSON.stringify(whole).includes("\"$ref\":") ? { ...whole, $defs: definitions } : whole
}

/**
 * Makes the function that decodes JSON; it fails with one line.
 *
 * @category constructors
 * @since 0.1.0
 */
export const decoder = <A>(schema: Schema.Codec<A, unknown>): (input: unknown) => Effect.Effect<A, string> => {
  const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(schema), { errors: "all" })
  return (input) => Effect.mapError(decode(input), (error) => ServiceInstance.explain(error.issue))
}

/**
 * Makes the function that encodes to JSON; it fails with one line.
 *
 * @category constructors
 * @since 0.1.0
 */
export const encoder = <A>(schema: Schema.Codec<A, unknown>): (value: A) => Effect.Effect<unknown, string> => {
  const encode = Schema.encodeEffect(Schema.toCodecJson(schema), { errors: "all" })
  return (value) => Effect.mapError(encode(value), (error) => ServiceInstance.explain(error.issue))
}

/**
 * Makes the function that checks a value against a JSON Schema; it answers what is wrong, in one line. Nothing is checked
 * where the schema uses what Effect can't read: then the handler must look at its arguments itself.
 *
 * @category constructors
 * @since 0.1.0
 */
export const checker = (schema: Fields): (input: unknown) => string | undefined => {
  const read = Result.try(() =>
    SchemaRepresentation.fromJsonSchemaDocument(JsonSchema.fromSchemaDraft2020_12({ ...schema }), { patterns: "apply" })
  )
  if (Result.isFailure(read)) return () => undefined
  const decode = Schema.decodeUnknownResult(Schema.make<Schema.Codec<unknown>>(read.success.ast), {
    errors: "all",
    // Where others are allowed, the schema that was read allows them.
    onExcessProperty: "error"
  })
  return (input) => {
    const decoded = decode(input)
    return Result.isFailure(decoded) ? ServiceInstance.explain(decoded.failure.issue) : undefined
  }
}

/**
 * Why a value is no JSON Schema of an object, if so.
 *
 * @category guards
 * @since 0.1.0
 */
export const notAnObject = (schema: unknown): string | undefined =>
  isFields(schema) && schema["type"] === "object" ? undefined : "must be a JSON Schema with type \"object\""
