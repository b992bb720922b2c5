/**
 * What the description of the API says beside what follows from its declaration.
 */
import type * as OpenApi from "effect/http-api/OpenApi"

const problem = (title: string) => ({
  description: title,
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } }
})

const Problem = {
  type: "object",
  description: "RFC 9457",
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" }
  },
  required: ["type", "title", "status"]
}

const methods = ["get", "put", "post", "delete"] as const

/** Adds what every operation may answer: 304 where there is an ETag, and the problems that no handler makes. */
export const documented = (document: Partial<OpenApi.OpenAPISpec>): Partial<OpenApi.OpenAPISpec> => {
  for (const path of Object.values(document.paths ?? {})) {
    for (const method of methods) {
      const operation = path[method]
      if (operation === undefined) continue
      const { responses } = operation
      const ok = responses[200]
      if (method === "get" && ok !== undefined && operation.operationId !== "watching.events") {
        operation.parameters.push({
          name: "if-none-match",
          in: "header",
          description: "ETags that the client has",
          schema: { type: "string" },
          required: false
        })
        ok.headers = { etag: { schema: { type: "string" }, required: true }, ...ok.headers }
        responses[304] = { description: "The client has it already" }
      }
      if (operation.requestBody !== undefined) {
        responses[413] ??= problem("Too large")
        responses[415] ??= problem("The body must be JSON")
      }
      const unauthorized = responses[401]
      if (unauthorized !== undefined) {
        unauthorized.headers = { "www-authenticate": { schema: { type: "string" }, required: true } }
      }
      responses[403] ??= problem("Host or Origin not allowed")
      Object.assign(responses, { default: problem("Any other problem") })
    }
  }
  const { components } = document
  return components === undefined
    ? document
    : { ...document, components: { ...components, schemas: { ...components.schemas, Problem } } }
}
