/**
 * Changes of a fleet as a person reads them.
 */
import type { Change } from "./changes.ts"
import { counted, stateStyle } from "./table.ts"
import { paint, plain } from "./terminal.ts"

const status = (text: string): string => {
  const style = stateStyle[text]
  return style === undefined ? text : paint(style, text)
}

const because = (reason: string | undefined): string =>
  reason === undefined || reason === "" ? "" : `: ${plain(reason)}`

const milliseconds = (value: number | undefined): string => value === undefined ? "–" : `${value.toFixed(1)} ms`

/** A change as one line: what happened (`+ - ~ *`), to what, and why. */
export const lineOf = (change: Change): string => {
  switch (change.type) {
    case "watching": {
      const { instances, sources } = change
      const found = [
        ...instances === undefined ? [] : [counted(instances, "instance")],
        ...sources === undefined ? [] : [counted(sources, "source")]
      ]
      return paint("dim", `watching${found.length === 0 ? "" : `: ${found.join(", ")}`}`)
    }
    case "added": {
      const { id, service, source } = change.instance
      const version = change.instance["version"]
      const told = typeof version === "string" && version !== "0.0.0" ? ` ${version}` : ""
      return `${paint("green", "+")} ${plain(`${id}  ${service}${told}  ${source}`)}`
    }
    case "updated": {
      const { id, service, source } = change.instance
      return `${paint("cyan", "~")} ${plain(`${id}  ${service}  ${source}  changed: ${change.fields.join(", ")}`)}`
    }
    case "removed":
      return `${paint("red", "-")} ${plain(`${change.id}  ${change.service}  ${change.source}`)}`
    case "health": {
      const { id, previous, reason, service } = change
      return `${paint("yellow", "~")} ${plain(`${id}  ${service}`)}  ${status(previous)} → ${status(change.status)}` +
        because(reason)
    }
    case "source": {
      const { previous, source } = change
      const from = previous === undefined || previous.state === source.state ? "" : `${status(previous.state)} → `
      const notes = [
        ...source.rejected.length === 0 ? [] : [`${source.rejected.length} rejected`],
        ...source.held === 0 ? [] : [`${source.held} removals held back`]
      ]
      return `${paint("blue", "*")} ${plain(`${source.name}  ${source.type}`)}  ${from}${status(source.state)}` +
        because([...source.error === undefined ? [] : [source.error], ...notes].join("; "))
    }
    case "sourceRemoved":
      return `${paint("blue", "*")} ${plain(change.name)}  removed`
    case "figures": {
      const { calls, failures, inFlight, p50, p95 } = change
      return `${paint("dim", ".")} ${counted(calls, "call")}, ${failures} failed, ${inFlight} in flight, ` +
        `p50 ${milliseconds(p50)}, p95 ${milliseconds(p95)}`
    }
  }
}
