/**
 * A step of a workflow: finds who has a capability, calls the tool, and answers with the value and the server that was
 * used.
 *
 * **Example** (Two steps in a row)
 *
 * ```ts
 * const forecast = WorkflowStep.make({
 *   capability: "weather.forecast",
 *   tool: "get_forecast",
 *   args: (city: string) => ({ city }),
 *   schema: Schema.Struct({ degrees: Schema.Finite })
 * })
 * const advise = WorkflowStep.make({
 *   capability: "clothes.advice",
 *   args: (degrees: number) => ({ degrees })
 * })
 *
 * const workflow = (city: string) =>
 *   forecast(city).pipe(
 *     Effect.tap(({ server }) => Effect.log(`asked ${server.instance}`)),
 *     Effect.flatMap(({ value }) => advise(value.degrees))
 *   )
 * ```
 *
 * @since 0.1.0
 */
import type { Routing } from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Fields } from "./JsonRpc.ts"
import { type AnsweredBy, type CallOptions, type ToolCallError, ToolClient } from "./ToolClient.ts"

/**
 * What a step does. `CallOptions` narrow it further.
 *
 * @category models
 * @since 0.1.0
 */
export interface StepOptions<Input> extends Omit<CallOptions, "capabilities" | "attempts"> {
  /** What the server must be able to do; `*` allowed where the tool is named. */
  readonly capability: string
  /** Name of the tool. Default: whichever stands for the capability (see `ToolClient.callCapability`). */
  readonly tool?: string | undefined
  /** Makes the arguments of the call. */
  readonly args: (input: Input) => Fields
  /** Attempts on other instances after the first, where that is safe. Default that of the router, 2. */
  readonly retries?: number | undefined
}

/**
 * What a step came to.
 *
 * @category models
 * @since 0.1.0
 */
export interface StepResult<out A> {
  readonly value: A
  readonly server: AnsweredBy
  readonly routing: Routing
}

/**
 * A step: a function from its input.
 *
 * @category models
 * @since 0.1.0
 */
export type Step<in Input, out A = unknown> = (
  input: Input
) => Effect.Effect<StepResult<A>, ToolCallError, ToolClient>

/**
 * Makes a step; with `schema` its value is decoded.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: {
  <Input, A>(options: StepOptions<Input> & { readonly schema: Schema.Codec<A, unknown> }): Step<Input, A>
  <Input>(options: StepOptions<Input>): Step<Input>
} = <Input>(
  options: StepOptions<Input> & { readonly schema?: Schema.Codec<unknown, unknown> | undefined }
): Step<Input> => {
  const { args, capability, retries, schema, tool, ...rest } = options
  const attempts = retries === undefined ? undefined : retries + 1
  return Effect.fnUntraced(function*(input: Input) {
    const { callCapability, callTool } = yield* ToolClient
    const given = args(input)
    const how = { ...rest, attempts, capabilities: tool === undefined ? [] : [capability] }
    const call = tool === undefined ? callCapability : callTool
    const name = tool ?? capability
    const called = schema === undefined ? call(name, given, how) : call(name, given, { ...how, schema })
    const { routing, server, value } = yield* called
    return { value, server, routing }
  })
}
