/**
 * What `portolan up` prints.
 */
import type { Gateway } from "@portolan/gateway/Gateway"
import type { Views } from "@portolan/gateway/rest/Views"
import { defaultUrl } from "./defaults.ts"
import { hiddenLines } from "./hiddenLines.ts"
import { paint } from "./terminal.ts"
import { version } from "./version.ts"

const row = (title: string, text: string): string => `  ${paint("dim", title.padEnd(9))}  ${text}`

/** `1.4` of `1.4.0`. */
const short = (text: string): string => /^\d+\.\d+/.exec(text)?.[0] ?? text

const listens = (gateway: Pick<Gateway["Service"], "url">): boolean => gateway.url !== "stdio:"

/** The addresses: printed as soon as they answer. */
export const headline = (gateway: Pick<Gateway["Service"], "url">, dashboard: boolean): string =>
  [
    `${paint("bold", "portolan")} ${version}`,
    "",
    ...listens(gateway)
      ? [
        row("MCP", paint("cyan", `${gateway.url}/mcp`)),
        ...dashboard ? [row("dashboard", paint("cyan", `${gateway.url}/`))] : [],
        row("REST", `${gateway.url}/api/docs`)
      ]
      : [row("MCP", "on standard input and output")],
    ""
  ].join("\n")

/** What was found, and what to do with it. */
export const banner = (
  gateway: Pick<Gateway["Service"], "url">,
  views: Pick<Views["Service"], "services" | "status">,
  demo: boolean
): string => {
  const { hidden, problems, sources, tools } = views.status()
  const width = Math.max(0, ...sources.map((source) => source.name.length))
  const found = sources.map((source, index) =>
    row(
      index === 0 ? "sources" : "",
      `${source.name.padEnd(width)}  ${String(source.instances).padStart(3)} instance${
        source.instances === 1 ? " " : "s"
      }   ${source.state}` +
        (source.error === undefined ? "" : ` (${source.error})`)
    )
  )
  const services = views.services().map((service) => {
    const versions = service.versions.filter((each) => each !== "0.0.0").map(short)
    return [service.name, ...versions, ...service.instances > 1 ? [`×${service.instances}`] : []].join(" ")
  })
  const shown = services.slice(0, 20)
  const client = JSON.stringify({ mcpServers: { portolan: { url: `${gateway.url}/mcp` } } })
    .replaceAll("{", "{ ").replaceAll("}", " }").replaceAll("\":", "\": ")
  // As whoever started this can type it.
  const command = process.env["PORTOLAN_COMMAND"] ?? "portolan"
  const elsewhere = gateway.url === defaultUrl ? "" : ` --url ${gateway.url}`
  return [
    ...found.length === 0 ? [row("sources", "none: name servers or registries in portolan.yaml")] : found,
    row(
      "services",
      shown.length === 0
        ? "none"
        : shown.join("   ") + (services.length > shown.length ? `   and ${services.length - shown.length} more` : "")
    ),
    row("tools", String(tools)),
    ...problems.map(({ instance, reason }, index) =>
      row(index === 0 ? "problems" : "", paint("yellow", `${instance}: ${reason}`))
    ),
    ...hiddenLines(hidden).map(({ names, reason }, index) =>
      row(index === 0 ? "hidden" : "", paint("dim", `${names}: ${reason}`))
    ),
    "",
    ...listens(gateway) ? [`  Claude Desktop, Cursor, VS Code: ${client}`] : [],
    ...demo && listens(gateway)
      ? [`  Try:       ${command} call weather__get_forecast --args '{"city":"Lisbon"}'${elsewhere}`]
      : [],
    ""
  ].join("\n")
}
