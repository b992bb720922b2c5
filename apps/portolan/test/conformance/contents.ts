/**
 * What the conformance suite reads, gets and calls without more to do: contents that are always the same, two prompts
 * with arguments, resources, and tools that fail, tell their progress and log.
 */
import { completable, fromJsonSchema, type McpServer, ResourceTemplate } from "@modelcontextprotocol/server"
import { setTimeout } from "node:timers/promises"
import { z } from "zod"

/** One red pixel. */
const image = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

/** A wave file without a sample. */
const audio = Buffer.concat([
  Buffer.from("RIFF"),
  Buffer.from(Uint32Array.of(36).buffer),
  Buffer.from("WAVEfmt "),
  Buffer.from(Uint32Array.of(16).buffer),
  Buffer.from(Uint16Array.of(1, 1).buffer),
  Buffer.from(Uint32Array.of(8000, 8000).buffer),
  Buffer.from(Uint16Array.of(1, 8).buffer),
  Buffer.from("data"),
  Buffer.from(Uint32Array.of(0).buffer)
]).toString("base64")

export const text = (text: string) => ({ type: "text" as const, text })

const picture = { type: "image" as const, data: image, mimeType: "image/png" }

const embedded = (uri: string, mimeType: string, text: string) => ({
  type: "resource" as const,
  resource: { uri, mimeType, text }
})

/** ms between two notices, so that they come one by one. */
const pause = 20

const mirrored = {
  type: "object",
  properties: { region: { type: "string", "x-mcp-header": "Region" }, level: { type: "integer" } }
} as const

const addTools = (server: McpServer): void => {
  const fixed = {
    test_simple_text: [text("This is a simple text response for testing.")],
    test_image_content: [picture],
    test_audio_content: [{ type: "audio" as const, data: audio, mimeType: "audio/wav" }],
    test_embedded_resource: [embedded("test://embedded-resource", "text/plain", "A resource inside a result.")],
    test_multiple_content_types: [
      text("Three kinds of content:"),
      picture,
      embedded("test://mixed-content-resource", "application/json", JSON.stringify({ test: "data", value: 123 }))
    ],
    test_streaming_elicitation: [text("Nothing is asked on this stream.")]
  }
  for (const [name, content] of Object.entries(fixed)) {
    server.registerTool(name, { description: "Always the same content" }, () => ({ content }))
  }

  server.registerTool("test_error_handling", { description: "Always fails" }, () => {
    throw new Error("This tool fails on purpose")
  })

  server.registerTool(
    "test_tool_with_progress",
    { description: "Three steps", inputSchema: z.object({}) },
    async (_, { mcpReq: { _meta, notify } }) => {
      const progressToken = _meta?.progressToken
      for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
        await notify({
          method: "notifications/progress",
          params: { progressToken: progressToken!, progress, total: 100, message: `${progress} of 100` }
        })
        await setTimeout(pause)
      }
      return { content: [text(`Told of ${String(progressToken)}`)] }
    }
  )

  for (const name of ["test_tool_with_logging", "test_logging_tool"]) {
    server.registerTool(
      name,
      { description: "Logs three lines", inputSchema: z.object({}) },
      async (_, { mcpReq }) => {
        for (const line of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
          await mcpReq.log("info", line)
          await setTimeout(pause)
        }
        return { content: [text("Logged")] }
      }
    )
  }

  // Ends the stream before there is an answer: the client asks for the rest.
  server.registerTool(
    "test_reconnection",
    { description: "Closes its stream midway", inputSchema: z.object({}) },
    async (_, { http }) => {
      http?.closeSSE?.()
      await setTimeout(100)
      return { content: [text("Answered after the stream was closed")] }
    }
  )

  server.registerTool(
    "test_x_mcp_header",
    {
      description: "One argument stands in a header, too",
      inputSchema: fromJsonSchema<{ readonly region?: string }>(mirrored)
    },
    ({ region }) => ({ content: [text(`region ${region ?? "unknown"}`)] })
  )

  server.registerTool(
    "json_schema_2020_12_tool",
    {
      description: "A schema of many keywords",
      inputSchema: fromJsonSchema({
        $schema: "https://json-schema.org/draft/2020-12/schema",
        type: "object",
        $defs: {
          address: {
            $anchor: "addressDef",
            type: "object",
            properties: { street: { type: "string" }, city: { type: "string" } }
          }
        },
        properties: {
          name: { type: "string" },
          address: { $ref: "#/$defs/address" },
          contactMethod: { type: "string", enum: ["phone", "email"] },
          phone: { type: "string" },
          email: { type: "string" }
        },
        allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
        if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
        // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
        then: { required: ["phone"] },
        else: { required: ["email"] },
        additionalProperties: false
      })
    },
    (args) => ({ content: [text(JSON.stringify(args))] })
  )
}

const addResources = (server: McpServer): void => {
  const fixed = {
    "test://static-text": { mimeType: "text/plain", text: "This is the content of the static text resource." },
    "test://static-binary": { mimeType: "image/png", blob: image },
    "test://watched-resource": { mimeType: "text/plain", text: "Somebody may watch this." }
  }
  for (const [uri, content] of Object.entries(fixed)) {
    const { mimeType } = content
    server.registerResource(uri.slice("test://".length), uri, { description: "Always the same", mimeType }, () => ({
      contents: [{ uri, ...content }]
    }))
  }
  server.registerResource(
    "template",
    new ResourceTemplate("test://template/{id}/data", { list: undefined }),
    { description: "One for each id", mimeType: "application/json" },
    ({ href }, { id }) => ({
      contents: [{
        uri: href,
        mimeType: "application/json",
        text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` })
      }]
    })
  )
}

const addPrompts = (server: McpServer): void => {
  const user = <Content>(content: Content) => ({ role: "user" as const, content })
  server.registerPrompt("test_simple_prompt", { description: "Always the same" }, () => ({
    messages: [user(text("This is a simple prompt for testing."))]
  }))
  server.registerPrompt(
    "test_prompt_with_arguments",
    {
      description: "Says its arguments",
      argsSchema: z.object({
        arg1: completable(z.string(), (value) => ["test", "testing", "toast"].filter((word) => word.startsWith(value))),
        arg2: z.string()
      })
    },
    ({ arg1, arg2 }) => ({ messages: [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))] })
  )
  server.registerPrompt(
    "test_prompt_with_embedded_resource",
    { description: "Has a resource in it", argsSchema: z.object({ resourceUri: z.string() }) },
    ({ resourceUri }) => ({
      messages: [
        user(embedded(resourceUri, "text/plain", "A resource inside a prompt.")),
        user(text("Please process the resource above."))
      ]
    })
  )
  server.registerPrompt("test_prompt_with_image", { description: "Has an image in it" }, () => ({
    messages: [user(picture), user(text("Please look at the image above."))]
  }))
}

export const addContents = (server: McpServer): void => {
  addTools(server)
  addResources(server)
  addPrompts(server)
}
