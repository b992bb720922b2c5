/**
 * What the servers of the matrix offer, of either era, in pages of two with cursors of their own.
 */
import type { Control, Order } from "./control.ts"

/** What is asked of clients. */
export const form = {
  message: "Who?",
  requestedSchema: {
    type: "object" as const,
    properties: { name: { type: "string" as const } },
    required: ["name"]
  }
}
export const url = { mode: "url" as const, message: "Go there", url: "https://example.com/pay", elicitationId: "pay-1" }
export const sampling = {
  messages: [{ role: "user" as const, content: { type: "text" as const, text: "Say something" } }],
  maxTokens: 7
}

/** Tools of every server; `research` runs as a task only. */
export const toolNames = ["aside", "form", "log", "research", "roots", "sample", "steps", "url", "wait"]

/** Names that start with what is typed; another argument may narrow them further. */
export const completions = (typed: string, country: string | undefined): Array<string> =>
  ["porto", "portland", "lisboa"].filter((name) =>
    name.startsWith(typed) && (country === undefined || (country === "pt") === (name !== "portland"))
  )

export const text = (value: unknown) => ({
  content: [{ type: "text" as const, text: typeof value === "string" ? value : JSON.stringify(value) }]
})

/** The lists of one server, which grow when the test says so. */
export const lists = (service: string, control: Control) => {
  const tools = [...toolNames]
  const prompts = ["greet", "part"]
  const uris = [`${service}://a`, `${service}://b`]
  const page = <A>(method: string, all: ReadonlyArray<A>, cursor: string | undefined) => {
    control.tell(method, cursor)
    const start = cursor === undefined ? 0 : Number(cursor.slice(service.length))
    const next = start + 2
    return { items: all.slice(start, next), more: next < all.length ? { nextCursor: `${service}${next}` } : {} }
  }
  return {
    /** Takes an order; tells which list is another one. */
    take: (order: Order): "tools" | "prompts" | "resources" | undefined => {
      if (order.order !== "grow") return undefined
      const list = { tools, prompts, resources: uris }[order.list]
      list.push(order.list === "resources" ? `${service}://${order.name}` : order.name)
      return order.list
    },
    tools: (cursor: string | undefined) => {
      const { items, more } = page("tools/list", tools, cursor)
      return {
        tools: items.map((name) => ({ name, inputSchema: { type: "object" as const } })),
        ...more
      }
    },
    prompts: (cursor: string | undefined) => {
      const { items, more } = page("prompts/list", prompts, cursor)
      return { prompts: items.map((name) => ({ name, arguments: [{ name: "city" }, { name: "country" }] })), ...more }
    },
    resources: (cursor: string | undefined) => {
      const { items, more } = page("resources/list", uris, cursor)
      return { resources: items.map((uri) => ({ uri, name: uri })), ...more }
    },
    templates: () => ({ resourceTemplates: [{ uriTemplate: `${service}://cities/{city}`, name: "city" }] })
  }
}
