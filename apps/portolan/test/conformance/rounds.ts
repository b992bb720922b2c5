/**
 * The tools and the prompt that ask their caller something. They are written once, as the stateless era has it: what is
 * asked is a result. In a session of the handshake era the SDK asks the client itself, and calls again with the answers.
 */
import {
  acceptedContent,
  CLIENT_CAPABILITIES_META_KEY,
  createRequestStateCodec,
  type InputRequests,
  inputRequired,
  type McpServer,
  type ServerContext
} from "@modelcontextprotocol/server"
import { randomBytes } from "node:crypto"
import { z } from "zod"
import { text } from "./contents.ts"

/** What a tool remembers from one round to the next; signed, as it comes back from the client. */
export const states = createRequestStateCodec<{ readonly step: number; readonly name?: string }>({
  key: randomBytes(32)
})

type Request = ServerContext["mcpReq"]

const form = (message: string, field: string) =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: "object", properties: { [field]: { type: "string" } }, required: [field] }
  })

const confirmation = inputRequired.elicit({
  message: "Please confirm",
  requestedSchema: { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] }
})

const sampled = (prompt: string) =>
  inputRequired.createMessage({ messages: [{ role: "user", content: text(prompt) }], maxTokens: 100 })

/** What the client answered to `key`, if it is an object. */
const answerTo = ({ inputResponses }: Request, key: string): object | undefined => {
  const answer: unknown = inputResponses?.[key]
  return typeof answer === "object" && answer !== null ? answer : undefined
}

/** The text that the client's model wrote. */
const sampleOf = (request: Request, key: string): string | undefined => {
  const answer = answerTo(request, key)
  if (answer === undefined || !("content" in answer)) return undefined
  const content: unknown = Array.isArray(answer.content) ? answer.content[0] : answer.content
  return typeof content === "object" && content !== null && "text" in content ? String(content.text) : undefined
}

const rootsOf = (request: Request, key: string): ReadonlyArray<unknown> | undefined => {
  const answer = answerTo(request, key)
  return answer !== undefined && "roots" in answer && Array.isArray(answer.roots) ? answer.roots : undefined
}

/** What the person filled in, if they agreed. */
const fieldOf = (request: Request, key: string, field: string): unknown =>
  acceptedContent<Record<string, unknown>>(request.inputResponses, key)?.[field]

/** What the client can be asked: each request of the stateless era says it, a session says it once. */
const capabilitiesOf = (server: McpServer, { envelope }: Request): object => {
  if (envelope === undefined) return server.server.getClientCapabilities() ?? {}
  const declared: unknown = Object.entries(envelope).find(([key]) => key === CLIENT_CAPABILITIES_META_KEY)?.[1]
  return typeof declared === "object" && declared !== null ? declared : {}
}

const said = (line: string) => ({ content: [text(line)] })

type Ask = (
  request: Request,
  server: McpServer
) =>
  | ReturnType<typeof inputRequired>
  | ReturnType<typeof said>
  | Promise<
    ReturnType<typeof inputRequired> | ReturnType<typeof said>
  >

/** Tools without arguments, by name. */
const asking: Record<string, Ask> = {
  test_missing_capability: (request) => {
    const answer = sampleOf(request, "answer")
    return answer === undefined ? inputRequired({ inputRequests: { answer: sampled("Say pong") } }) : said(answer)
  },

  test_input_required_result_elicitation: (request) => {
    const name = fieldOf(request, "user_name", "name")
    return typeof name === "string"
      ? said(`Hello, ${name}!`)
      : inputRequired({ inputRequests: { user_name: form("What is your name?", "name") } })
  },

  test_input_required_result_sampling: (request) => {
    const capital = sampleOf(request, "capital_question")
    return capital === undefined
      ? inputRequired({ inputRequests: { capital_question: sampled("What is the capital of France?") } })
      : said(`The model says: ${capital}`)
  },

  test_input_required_result_list_roots: (request) => {
    const roots = rootsOf(request, "client_roots")
    return roots === undefined
      ? inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } })
      : said(`${roots.length} roots`)
  },

  test_input_required_result_request_state: async (request) =>
    request.requestState() !== undefined && fieldOf(request, "confirm", "ok") === true
      ? said("state-ok")
      : inputRequired({
        inputRequests: { confirm: confirmation },
        requestState: await states.mint({ step: 1 })
      }),

  test_input_required_result_multiple_inputs: async (request) => {
    const name = fieldOf(request, "user_name", "name")
    const greeting = sampleOf(request, "greeting")
    const roots = rootsOf(request, "client_roots")
    return typeof name === "string" && greeting !== undefined && roots !== undefined
      ? said(`${greeting} ${name}, who has ${roots.length} roots`)
      : inputRequired({
        inputRequests: {
          user_name: form("What is your name?", "name"),
          greeting: sampled("Generate a greeting"),
          client_roots: inputRequired.listRoots()
        },
        requestState: await states.mint({ step: 1 })
      })
  },

  test_input_required_result_multi_round: async (request) => {
    const state = request.requestState<{ readonly step: number; readonly name?: string }>()
    if (state === undefined) {
      return inputRequired({
        inputRequests: { step1: form("Step 1: What is your name?", "name") },
        requestState: await states.mint({ step: 1 })
      })
    }
    if (state.step === 1) {
      return inputRequired({
        inputRequests: { step2: form("Step 2: What is your favorite color?", "color") },
        requestState: await states.mint({ step: 2, name: String(fieldOf(request, "step1", "name")) })
      })
    }
    return said(`${state.name} likes ${String(fieldOf(request, "step2", "color"))}`)
  },

  test_input_required_result_tampered_state: async (request) =>
    request.requestState() !== undefined && fieldOf(request, "confirm", "ok") === true
      ? said("untouched")
      : inputRequired({
        inputRequests: { confirm: confirmation },
        requestState: await states.mint({ step: 1 })
      }),

  test_input_required_result_capabilities: (request, server) => {
    if (request.inputResponses !== undefined) return said("Answered what was asked")
    const declared = capabilitiesOf(server, request)
    const inputRequests: InputRequests = {
      ...("elicitation" in declared ? { user_name: form("What is your name?", "name") } : {}),
      ...("sampling" in declared ? { greeting: sampled("Generate a short greeting") } : {}),
      ...("roots" in declared ? { client_roots: inputRequired.listRoots() } : {})
    }
    return Object.keys(inputRequests).length === 0 ? said("You can't be asked") : inputRequired({ inputRequests })
  },

  test_elicitation_sep1034_defaults: (request) =>
    answerTo(request, "review") === undefined
      ? inputRequired({
        inputRequests: {
          review: inputRequired.elicit({
            message: "Please review what is filled in",
            requestedSchema: {
              type: "object",
              properties: {
                name: { type: "string", default: "John Doe" },
                age: { type: "integer", default: 30 },
                score: { type: "number", default: 95.5 },
                status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
                verified: { type: "boolean", default: true }
              },
              required: []
            }
          })
        }
      })
      : said(`Elicitation completed: ${JSON.stringify(answerTo(request, "review"))}`),

  test_elicitation_sep1330_enums: (request) =>
    answerTo(request, "choice") === undefined
      ? inputRequired({
        inputRequests: {
          choice: inputRequired.elicit({
            message: "Please choose",
            requestedSchema: {
              type: "object",
              properties: {
                untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
                titledSingle: {
                  type: "string",
                  oneOf: [
                    { const: "value1", title: "First Option" },
                    { const: "value2", title: "Second Option" },
                    { const: "value3", title: "Third Option" }
                  ]
                },
                legacyEnum: {
                  type: "string",
                  enum: ["opt1", "opt2", "opt3"],
                  enumNames: ["Option One", "Option Two", "Option Three"]
                },
                untitledMulti: { type: "array", items: { type: "string", enum: ["option1", "option2", "option3"] } },
                titledMulti: {
                  type: "array",
                  items: {
                    anyOf: [
                      { const: "value1", title: "First Choice" },
                      { const: "value2", title: "Second Choice" },
                      { const: "value3", title: "Third Choice" }
                    ]
                  }
                }
              },
              required: []
            }
          })
        }
      })
      : said(`Elicitation completed: ${JSON.stringify(answerTo(request, "choice"))}`)
}

export const addRounds = (server: McpServer): void => {
  for (const [name, ask] of Object.entries(asking)) {
    server.registerTool(
      name,
      { description: "Asks its caller", inputSchema: z.object({}) },
      (_, { mcpReq }) => ask(mcpReq, server)
    )
  }

  server.registerTool(
    "test_sampling",
    { description: "Asks the model of its caller", inputSchema: z.object({ prompt: z.string() }) },
    ({ prompt }, { mcpReq }) => {
      const answer = sampleOf(mcpReq, "answer")
      return answer === undefined
        ? inputRequired({ inputRequests: { answer: sampled(prompt) } })
        : said(`LLM response: ${answer}`)
    }
  )

  server.registerTool(
    "test_elicitation",
    { description: "Asks the person", inputSchema: z.object({ message: z.string() }) },
    ({ message }, { mcpReq }) => {
      const answer = answerTo(mcpReq, "answer")
      return answer === undefined
        ? inputRequired({ inputRequests: { answer: form(message, "response") } })
        : said(`User response: ${JSON.stringify(answer)}`)
    }
  )

  server.registerPrompt(
    "test_input_required_result_prompt",
    { description: "Asks before it is given" },
    ({ mcpReq }) => {
      const context = fieldOf(mcpReq, "user_context", "context")
      return typeof context === "string"
        ? { messages: [{ role: "user" as const, content: text(`Mind this: ${context}`) }] }
        : inputRequired({ inputRequests: { user_context: form("What context should the prompt use?", "context") } })
    }
  )
}
