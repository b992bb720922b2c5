/**
 * Whether tools run as tasks: as servers of both eras say it, in the words of version 2025-11-25.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#tool-level-negotiation
 * @since 0.2.0
 */
import { type Fields, isFields } from "../JsonRpc.ts"
import type { ServerProfile } from "../upstream/Upstream.ts"

/**
 * The extension of the stateless era.
 *
 * @see https://modelcontextprotocol.io/extensions/tasks/overview
 * @category constants
 * @since 0.2.0
 */
export const extension = "io.modelcontextprotocol/tasks"

/**
 * Tells whether capabilities, a client's or a server's, name the extension.
 *
 * @category guards
 * @since 0.2.0
 */
export const declares = (capabilities: Fields): boolean => {
  const extensions = capabilities["extensions"]
  return isFields(extensions) && isFields(extensions[extension])
}

/**
 * Tells whether a server runs calls of tools as tasks.
 *
 * @category guards
 * @since 0.2.0
 */
export const runsTasks = ({ capabilities, era }: ServerProfile): boolean => {
  if (era === "stateless") return declares(capabilities)
  const requests = isFields(capabilities["tasks"]) ? capabilities["tasks"]["requests"] : undefined
  const tools = isFields(requests) ? requests["tools"] : undefined
  return isFields(tools) && isFields(tools["call"])
}

/**
 * How a tool runs as a task: if the client wants it, or not otherwise. `undefined`: not at all.
 *
 * @category accessors
 * @since 0.2.0
 */
export const of = (definition: Fields): "optional" | "required" | undefined => {
  const execution = definition["execution"]
  const support = isFields(execution) ? execution["taskSupport"] : undefined
  return support === "optional" || support === "required" ? support : undefined
}

/**
 * Gives a definition that says nothing of tasks.
 *
 * @category combinators
 * @since 0.2.0
 */
export const without = (definition: Fields): Fields => {
  const { execution, ...rest } = definition
  if (!isFields(execution)) return definition
  const { taskSupport: _support, ...others } = execution
  return Object.keys(others).length === 0 ? rest : { ...rest, execution: others }
}

/**
 * Gives the tools of a server with what holds for each: a tool of a server that runs no tasks runs as none, whatever it
 * says; one of the stateless era, where the server decides for each call, may always be asked to.
 *
 * @category combinators
 * @since 0.2.0
 */
export const normalized = (
  profile: ServerProfile,
  tools: ReadonlyMap<string, Fields>
): ReadonlyMap<string, Fields> => {
  const runs = runsTasks(profile)
  if (runs && profile.era === "handshake") return tools
  if (!runs) {
    for (const definition of tools.values()) {
      if (of(definition) !== undefined) return new Map(Array.from(tools, ([name, each]) => [name, without(each)]))
    }
    return tools
  }
  return new Map(
    Array.from(tools, ([name, each]) => {
      const execution = isFields(each["execution"]) ? each["execution"] : {}
      return [name, { ...each, execution: { ...execution, taskSupport: "optional" } }]
    })
  )
}
