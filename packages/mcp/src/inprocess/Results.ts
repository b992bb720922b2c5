/**
 * What a handler's answer is in the protocol.
 *
 * @since 0.1.0
 */
import { type Fields, isFields, type Reply } from "../JsonRpc.ts"

/** A result of a tool in the protocol's own form. */
export class ToolResult {
  readonly fields: Fields
  constructor(fields: Fields) {
    this.fields = fields
  }
}

const text = (value: string) => ({ type: "text", text: value })

const isBlock = (value: unknown): boolean => isFields(value) && typeof value["type"] === "string"

const json = (value: unknown): string => {
  const written = JSON.stringify(value)
  if (written === undefined) throw new TypeError(`${typeof value} can't be written as JSON`)
  return written
}

/** As JSON would make it: nothing is shared with the handler. Throws what JSON can't write. */
const isolated = (fields: Fields): Fields => JSON.parse(json(fields))

/** The result of a tool. Throws where the answer can't be written as JSON. */
export const ofTool = (answer: unknown, structured: boolean): Fields => {
  if (answer instanceof ToolResult) return isolated({ content: [], ...answer.fields, resultType: "complete" })
  if (!structured) {
    if (answer === undefined || answer === null) return { content: [], resultType: "complete" }
    if (typeof answer === "string") return { content: [text(answer)], resultType: "complete" }
    if (Array.isArray(answer) && answer.every(isBlock)) return isolated({ content: answer, resultType: "complete" })
    if (typeof answer !== "object") return { content: [text(json(answer))], resultType: "complete" }
  }
  // Clients that don't read structured results get it as text.
  const written = json(answer)
  return { content: [text(written)], structuredContent: JSON.parse(written), resultType: "complete" }
}

/** The result of a tool that failed. */
export const ofFailure = (message: string): Fields => ({
  content: [text(message)],
  isError: true,
  resultType: "complete"
})

/** The contents of a resource. Throws where the answer can't be written as JSON. */
export const ofResource = (answer: unknown, uri: string, mimeType: string | undefined): Fields => {
  const of = { uri, ...(mimeType === undefined ? undefined : { mimeType }) }
  const contents = answer instanceof Uint8Array
    ? [{ ...of, blob: Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength).toString("base64") }]
    : typeof answer === "string"
    ? [{ ...of, text: answer }]
    : Array.isArray(answer)
    ? answer
    : [{ ...of, text: json(answer) }]
  return isolated({ contents, resultType: "complete", ttlMs: 0, cacheScope: "private" })
}

/** The messages of a prompt. Throws where the answer can't be written as JSON. */
export const ofPrompt = (answer: unknown): Fields =>
  isolated({
    ...(typeof answer === "string"
      ? { messages: [{ role: "user", content: text(answer) }] }
      : Array.isArray(answer)
      ? { messages: answer }
      : isFields(answer)
      ? answer
      : { messages: [] }),
    resultType: "complete"
  })

/** The answer to a request that can't be done. */
export const refusal = (code: number, message: string): Reply => ({ error: { code, message } })

/** What a person is told of an error that a handler failed with. */
export const messageOf = (error: unknown): string => {
  if (typeof error === "string") return error
  if (isFields(error)) {
    const { _tag: tag, message } = error
    if (typeof message === "string" && message !== "") return message
    if (typeof tag === "string") return tag
  }
  return "it failed"
}
