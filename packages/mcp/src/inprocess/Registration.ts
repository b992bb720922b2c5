/**
 * Puts what is registered together into a host, and takes it away again.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { OfferKind } from "../catalog/Offer.ts"
import * as UriTemplate from "../catalog/UriTemplate.ts"
import { Code, type Fields, isFields, type Reply } from "../JsonRpc.ts"
import { Calls, type Entry, type HandlerHost } from "./HandlerHost.ts"
import {
  type CallContext,
  type Described,
  InvalidArguments,
  type Offering,
  type Prompt,
  RegistrationError,
  type Resource,
  type Services,
  type Tool
} from "./Handlers.ts"
import * as Results from "./Results.ts"
import * as Schemas from "./Schemas.ts"

type Answer = (params: Fields, context: CallContext) => Effect.Effect<Reply>

interface Item {
  readonly kind: OfferKind
  readonly name: string
  readonly definition: Fields
  readonly answer: Answer
}

/** Keys of `_meta` that say where something comes from, and how it is sorted. */
const Key = { source: "dev.portolan/source", tags: "dev.portolan/tags" } as const

const toolName = /^[A-Za-z0-9_.-]{1,128}$/

/** The definition without what is absent. */
const definitionOf = (described: Described, own: Fields): Fields => {
  const { description, icons, meta, source, tags, title } = described
  const all = { ...meta, [Key.source]: source, [Key.tags]: tags }
  const given = {
    title,
    description,
    icons,
    ...own,
    _meta: Object.values(all).some(Predicate.isNotUndefined) ? all : undefined
  }
  // As JSON would make it: what is registered can't be changed afterwards.
  return JSON.parse(JSON.stringify(given))
}

/**
 * Makes the function that registers in a host. `drain` is how long, in ms, calls may take once their handler is taken away.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (service: string, host: HandlerHost, drain: number) => {
  /** What a handler came to as a reply: `answered` may throw where the answer can't be written as JSON. */
  const replied = <R>(
    what: string,
    handler: Effect.Effect<unknown, unknown, R>,
    answered: (answer: unknown) => Fields,
    failed: (message: string, defect: boolean) => Reply
  ): Effect.Effect<Reply, never, Exclude<R, Scope.Scope>> =>
    Effect.scoped(handler).pipe(
      Effect.flatMap((answer) => Effect.sync((): Reply => ({ result: answered(answer) }))),
      Effect.catchCause((cause) => {
        const error = Cause.hasDies(cause) ? Option.none() : Cause.findErrorOption(cause)
        if (Option.isSome(error)) {
          return Effect.succeed(
            error.value instanceof InvalidArguments
              ? Results.refusal(Code.invalidParams, `Invalid arguments for ${what}: ${error.value.reason}`)
              : failed(Results.messageOf(error.value), false)
          )
        }
        // Its caller gave it up, or it was taken away.
        if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
        return Effect.as(
          Effect.logError(`${what} of ${service} failed`, cause),
          failed(`${what} failed; the reason is in the log of its server`, true)
        )
      })
    )

  const ofTool = <R>(tool: Tool<R>, context: Context.Context<Exclude<R, Scope.Scope>>): Item | string => {
    const inputSchema = tool.inputSchema ?? { type: "object" }
    if (!toolName.test(tool.name)) return "a tool's name has 1 to 128 characters of A-Z a-z 0-9 _ - ."
    const wrong = Schemas.notAnObject(inputSchema)
    if (wrong !== undefined) return `inputSchema ${wrong}`
    const check = tool.checksArguments === true ? () => undefined : Schemas.checker(inputSchema)
    const structured = tool.outputSchema !== undefined
    return {
      kind: "tools",
      name: tool.name,
      definition: definitionOf(tool, {
        name: tool.name,
        inputSchema,
        outputSchema: tool.outputSchema,
        annotations: tool.annotations
      }),
      answer: ({ arguments: args = {} }, call) => {
        const reason = isFields(args) ? check(args) : "expected an object"
        return replied(
          tool.name,
          reason === undefined && isFields(args) ? tool.handler(args, call) : invalid(reason),
          (answer) => Results.ofTool(answer, structured),
          (message) => ({ result: Results.ofFailure(message) })
        ).pipe(Effect.provideContext(context))
      }
    }
  }

  const ofResource = <R>(resource: Resource<R>, context: Context.Context<Exclude<R, Scope.Scope>>): Item | string => {
    const { uri, uriTemplate } = resource
    const name = uri ?? uriTemplate
    if (name === undefined || (uri !== undefined && uriTemplate !== undefined)) {
      return "a resource has either a uri or a uriTemplate"
    }
    if (uri !== undefined && URL.parse(uri) === null) return "uri must be a URI"
    const read = uriTemplate === undefined ? undefined : UriTemplate.reader(uriTemplate)
    if (uriTemplate !== undefined && read === undefined) {
      return "uriTemplate must be a URI template (RFC 6570)"
    }
    return {
      kind: uri === undefined ? "resourceTemplates" : "resources",
      name,
      definition: definitionOf(resource, {
        uri,
        uriTemplate,
        name: resource.name ?? name,
        mimeType: resource.mimeType,
        annotations: resource.annotations
      }),
      answer: ({ uri }, call) =>
        replied(
          String(uri),
          resource.handler(String(uri), { ...call, variables: read?.(String(uri)) ?? {} }),
          (answer) => Results.ofResource(answer, String(uri), resource.mimeType),
          (message, defect) => failed(String(uri), message, defect)
        ).pipe(Effect.provideContext(context))
    }
  }

  const ofPrompt = <R>(prompt: Prompt<R>, context: Context.Context<Exclude<R, Scope.Scope>>): Item | string => {
    if (!toolName.test(prompt.name)) return "a prompt's name has 1 to 128 characters of A-Z a-z 0-9 _ - ."
    return {
      kind: "prompts",
      name: prompt.name,
      definition: definitionOf(prompt, { name: prompt.name, arguments: prompt.arguments }),
      answer: ({ arguments: given = {} }, call) => {
        const args: Record<string, string> = {}
        for (const [name, value] of Object.entries(isFields(given) ? given : {})) {
          if (typeof value === "string") args[name] = value
        }
        const missing = prompt.arguments?.find(({ name, required }) => required === true && !Object.hasOwn(args, name))
        return replied(
          prompt.name,
          missing === undefined ? prompt.handler(args, call) : invalid(`${missing.name}: expected a text`),
          Results.ofPrompt,
          (message, defect) => failed(prompt.name, message, defect)
        ).pipe(Effect.provideContext(context))
      }
    }
  }

  const refused = (item: string, reason: string) => Effect.fail(new RegistrationError({ service, item, reason }))

  function register<const O extends Offering<unknown>>(
    offering: O
  ): Effect.Effect<void, RegistrationError, Services<O> | Scope.Scope>
  function register<R>(
    { prompts = [], resources = [], tools = [] }: Offering<R>
  ): Effect.Effect<void, RegistrationError, Exclude<R, Scope.Scope> | Scope.Scope> {
    return Effect.contextWith((context: Context.Context<Exclude<R, Scope.Scope>>) =>
      Effect.gen(function*() {
        const calls = new Calls()
        const items = new Map<string, Item>()
        const made = [
          ...tools.map((tool) => [tool.name, ofTool(tool, context)] as const),
          ...resources.map((each) => [each.uri ?? each.uriTemplate ?? "resource", ofResource(each, context)] as const),
          ...prompts.map((prompt) => [prompt.name, ofPrompt(prompt, context)] as const)
        ]
        for (const [name, item] of made) {
          if (typeof item === "string") return yield* refused(name, item)
          const id = `${item.kind} ${name}`
          if (items.has(id) || host.has(item.kind, name)) return yield* refused(name, "it is registered already")
          items.set(id, item)
        }
        const entries = Array.from(items.values(), (item): Item & { readonly entry: Entry } => ({
          ...item,
          entry: { definition: item.definition, answer: item.answer, calls }
        }))
        const kinds = new Set(entries.map(({ kind }) => kind))
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            for (const { entry, kind, name } of entries) host.put(kind, name, entry)
            host.changed(kinds)
          }),
          () => {
            const gone = entries.filter(({ entry, kind, name }) => host.remove(kind, name, entry))
            host.changed(new Set(gone.map(({ kind }) => kind)))
            return calls.drain(drain)
          }
        )
      })
    )
  }
  return register
}

const invalid = (reason: string | undefined) => Effect.fail(new InvalidArguments({ reason: reason ?? "not valid" }))

const failed = (what: string, message: string, defect: boolean): Reply =>
  Results.refusal(defect ? Code.internalError : Code.handlerFailed, defect ? message : `${what}: ${message}`)
