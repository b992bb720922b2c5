/**
 * What marking instances means for calls, told before it is done.
 */
import type { InstanceRow } from "../../fleet/rows.ts"
import { counted } from "../../parts/format.ts"

export type MarkAs = "draining" | "down" | "up"

export const verbs: Readonly<Record<MarkAs, { readonly title: string; readonly doing: string }>> = {
  draining: { title: "Drain", doing: "Draining" },
  down: { title: "Take down", doing: "Taking down" },
  up: { title: "Give back", doing: "Giving back" }
}

export interface Consequence {
  /** What becomes of the calls that run. */
  readonly calls: string
  /** Of each service: how many of its instances take calls after it. Those that lose the most of them first. */
  readonly services: ReadonlyArray<{ readonly name: string; readonly left: number; readonly of: number }>
  /** Services of which nothing takes calls any more. */
  readonly lost: ReadonlyArray<string>
}

/** `of`: all instances of a service. */
export const consequence = (
  chosen: ReadonlyArray<InstanceRow>,
  as: MarkAs,
  of: (service: string) => ReadonlyArray<InstanceRow>
): Consequence => {
  const running = chosen.reduce((sum, { inFlight }) => sum + inFlight, 0)
  const keys = new Set(chosen.map(({ key }) => key))
  const services = Array.from(new Set(chosen.map(({ service }) => service)), (name) => {
    const takers = of(name).filter(({ routable }) => routable)
    return { name, left: takers.filter(({ key }) => as === "up" || !keys.has(key)).length, of: takers.length }
  }).sort((a, b) => a.left / (a.of || 1) - b.left / (b.of || 1) || (a.name < b.name ? -1 : 1))
  return {
    calls: as === "up"
      ? "They take calls again as far as their checks allow."
      : running === 0
      ? "No call runs at them now."
      : as === "draining"
      ? `${counted(running, "call")} ${running === 1 ? "finishes" : "finish"} first; no new ones come.`
      : `No new calls come; the ${counted(running, "call")} that ${running === 1 ? "runs" : "run"} now may fail.`,
    services,
    lost: as === "up" ? [] : services.filter(({ left, of }) => left === 0 && of > 0).map(({ name }) => name)
  }
}
