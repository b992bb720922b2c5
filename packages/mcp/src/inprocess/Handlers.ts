/**
 * Handlers as they are written in code: of tools, resources and prompts.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Fields } from "../JsonRpc.ts"
import type { LogLevel } from "../relay/LogLevel.ts"
import { ToolResult } from "./Results.ts"
import * as Schemas from "./Schemas.ts"

/**
 * The call that a handler answers. Interruption of the handler is its cancellation.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallContext {
  /** Tells the caller how far it is, where the caller wants to know. Each time more than the time before. */
  readonly progress: (
    progress: number,
    of?: { readonly total?: number | undefined; readonly message?: string | undefined }
  ) => Effect.Effect<void>
  /** Sends the caller a log message, where it asked for messages of this level. */
  readonly log: (level: LogLevel, data: unknown, logger?: string) => Effect.Effect<void>
  /** What the caller wrote into `_meta`, without what belongs to the protocol. */
  readonly meta: Fields
}

/**
 * Error raised when handlers can't be registered: a name is taken or not allowed, a schema can't be used.
 *
 * @category errors
 * @since 0.1.0
 */
export class RegistrationError extends Schema.TaggedError<RegistrationError>()("RegistrationError", {
  service: Schema.String,
  /** Name, URI or URI template of what can't be registered, or the id of its server. */
  item: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.service}: ${this.item}: ${this.reason}`
  }
}

/**
 * Error that a handler fails with where its arguments are at fault: the caller gets error -32602 with the reason.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidArguments extends Schema.TaggedError<InvalidArguments>()("InvalidArguments", {
  /** One line: `city: expected string`. */
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}

/**
 * What tools, resources and prompts have in common.
 *
 * @category models
 * @since 0.1.0
 */
export interface Described {
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly icons?: ReadonlyArray<Fields> | undefined
  /** Where it comes from (a package, a plugin); listed in `_meta`. */
  readonly source?: string | undefined
  /** Listed in `_meta`. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Further `_meta`. */
  readonly meta?: Fields | undefined
}

/**
 * A tool. Its arguments are checked against `inputSchema` as far as that uses the common keywords; `tool` makes one whose
 * arguments are decoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tool<out R = never> extends Described {
  /** 1 to 128 of A-Z a-z 0-9 _ - . */
  readonly name: string
  /** JSON Schema of the arguments, an object. Default: any object. */
  readonly inputSchema?: Fields | undefined
  /** JSON Schema of the structured result: the handler's answer is then structured, whatever it is. */
  readonly outputSchema?: Fields | undefined
  /** `readOnlyHint` or `idempotentHint`: a call that may have run may be repeated. */
  readonly annotations?: Fields | undefined
  /** The handler looks at its arguments itself. Default false. */
  readonly checksArguments?: boolean | undefined
  readonly handler: (args: Fields, context: CallContext) => Effect.Effect<unknown, unknown, R>
}

/**
 * The read that a handler of a resource answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadContext extends CallContext {
  /** Values of the variables of `uriTemplate`, decoded; of those that the URI leaves out there is none. */
  readonly variables: Readonly<Record<string, string>>
}

/**
 * A resource, or with `uriTemplate` all resources whose URIs the template makes. It answers with a text, with bytes, with
 * a JSON value, or with an array of contents as the protocol writes them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resource<out R = never> extends Described {
  /** One of `uri` and `uriTemplate`. */
  readonly uri?: string | undefined
  readonly uriTemplate?: string | undefined
  /** Default: the URI or the template. */
  readonly name?: string | undefined
  readonly mimeType?: string | undefined
  readonly annotations?: Fields | undefined
  readonly handler: (uri: string, context: ReadContext) => Effect.Effect<unknown, unknown, R>
}

/**
 * A prompt. It answers with the text of one user message, with an array of messages, or with `{ description, messages }`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Prompt<out R = never> extends Described {
  readonly name: string
  readonly arguments?:
    | ReadonlyArray<{
      readonly name: string
      readonly title?: string | undefined
      readonly description?: string | undefined
      readonly required?: boolean | undefined
    }>
    | undefined
  readonly handler: (
    args: Readonly<Record<string, string>>,
    context: CallContext
  ) => Effect.Effect<unknown, unknown, R>
}

/**
 * What is registered together, and taken away together.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offering<out R = never> {
  readonly tools?: ReadonlyArray<Tool<R>> | undefined
  readonly resources?: ReadonlyArray<Resource<R>> | undefined
  readonly prompts?: ReadonlyArray<Prompt<R>> | undefined
}

/**
 * What the handlers of an offering need. Each call has a scope of its own.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<O> = {
  [Kind in keyof O]-?: NonNullable<O[Kind]> extends
    ReadonlyArray<{ readonly handler: (...args: infer _Args) => Effect.Effect<infer _A, infer _E, infer R> }>
    // An offering of nothing in particular needs nothing.
    ? unknown extends R ? never : Exclude<R, Scope.Scope>
    : never
}[keyof O & keyof Offering]

/**
 * Makes a tool whose arguments are decoded by a schema, and with `outputSchema` one whose structured answer is encoded by
 * a schema. What clients see is made of the schemas.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tool = <Args, Value, E, R>(
  options: Omit<Tool, "inputSchema" | "outputSchema" | "handler" | "checksArguments"> & {
    readonly inputSchema: Schema.Codec<Args, unknown>
    readonly outputSchema?: Schema.Codec<Value, unknown> | undefined
    readonly handler: (args: Args, context: CallContext) => Effect.Effect<Value, E, R>
  }
): Tool<R> => {
  const { handler, inputSchema, outputSchema, ...rest } = options
  const decode = Schemas.decoder(inputSchema)
  const encode = outputSchema === undefined ? Effect.succeed<unknown> : Schemas.encoder(outputSchema)
  return {
    ...rest,
    checksArguments: true,
    inputSchema: Schemas.jsonSchema(inputSchema),
    outputSchema: outputSchema === undefined ? undefined : Schemas.jsonSchema(outputSchema),
    handler: (args, context) =>
      decode(args).pipe(
        Effect.mapError((reason) => new InvalidArguments({ reason })),
        Effect.flatMap((decoded) => handler(decoded, context)),
        Effect.flatMap((answer) => encode(answer))
      )
  }
}

/**
 * Makes the answer of a tool in the protocol's own form: `content`, `structuredContent`, `isError`, `_meta`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const result = (fields: Fields): unknown => new ToolResult(fields)
