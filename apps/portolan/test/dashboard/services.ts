/**
 * Services of which a fleet is made: what each offers, and its instances by region.
 */
import type { Offer, Servers, Tool } from "./servers.ts"

export interface Service {
  readonly name: string
  readonly version: string
  /** Calls a second that it gets. */
  readonly rate: number
  readonly latency: number
  /** Instances by region. */
  readonly regions: Readonly<Record<string, number>>
  readonly tools: ReadonlyArray<string>
}

const forecast = {
  type: "object",
  required: ["city"],
  properties: {
    city: { type: "string", description: "Name of a city", minLength: 2 },
    days: { type: "integer", description: "How many days", minimum: 1, maximum: 14, default: 3 },
    units: { type: "string", enum: ["metric", "imperial"], default: "metric" }
  }
}

/** What is said of the tools whose pages are shown. */
const details: Readonly<Record<string, Omit<Tool, "name">>> = {
  get_forecast: {
    description: "Forecast for a city: temperature, wind and rain by day",
    inputSchema: forecast,
    annotations: { readOnlyHint: true },
    run: ({ arguments: { city }, instance }) => ({
      content: [{ type: "text", text: `${String(city)}: 18 °C, light wind from the west (${instance})` }],
      structuredContent: { city, temperature: 18, wind: { speed: 4, from: "W" } }
    })
  },
  compare_cities: {
    description: "Compares the weather of some cities, one after the other; takes a while",
    inputSchema: { type: "object", properties: { cities: { type: "array", items: { type: "string" }, maxItems: 8 } } },
    run: async ({ instance, progress, signal }) => {
      for (let step = 1; step <= 200 && !signal.aborted; step++) {
        progress(step, 200, `city ${step}`)
        await new Promise((resolve) => setTimeout(resolve, 150))
      }
      return { content: [{ type: "text", text: `compared by ${instance}` }] }
    }
  },
  refund: { description: "Pays an invoice back", annotations: { destructiveHint: true } }
}

const toolOf = (name: string): Tool => ({
  name,
  description: `${name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase())}.`,
  ...details[name]
})

export const offersOf = (services: ReadonlyArray<Service>): ReadonlyMap<string, Offer> =>
  new Map(services.map(({ latency, name, tools, version }) => [name, { version, latency, tools: tools.map(toolOf) }]))

/** Four hexadecimal digits, the same for the same text. */
const mark = (text: string): string => {
  let hash = 0x811c9dc5
  for (const letter of text) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193)
  return ((hash ^ (hash >>> 15)) & 0xffff).toString(16).padStart(4, "0")
}

export interface Announced {
  readonly id: string
  readonly service: string
  readonly region: string
  readonly [field: string]: unknown
}

export const instancesOf = (services: ReadonlyArray<Service>, { url }: Servers): ReadonlyArray<Announced> =>
  services.flatMap(({ name, regions, version }) =>
    Object.entries(regions).flatMap(([region, count]) =>
      Array.from({ length: count }, (_, at) => {
        const id = `${name}-${mark(`${name} ${region} ${at}`)}${at.toString(16)}`
        return {
          id,
          service: name,
          version,
          region,
          zone: `${region}${"abc"[at % 3]}`,
          tags: ["mcp"],
          endpoint: { transport: "streamable-http", url: url(name, id) }
        }
      })
    )
  )
