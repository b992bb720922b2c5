/**
 * How long sessions last, by protocol version and transport.
 *
 * @since 0.1.0
 */
import { boundaries, type Family, type Histogram, type Instruments } from "./Instruments.ts"
import * as Operations from "./Operations.ts"

/**
 * Records that a session ended that lasted for so many ms. Plain.
 *
 * @category models
 * @since 0.1.0
 */
export type SessionDurations = (
  protocolVersion: string | undefined,
  transport: "tcp" | "pipe" | undefined,
  lasted: number
) => void

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (instruments: Instruments, family: Family): SessionDurations => {
  const histograms = new Map<string, Histogram>()
  return (protocolVersion, transport, lasted) => {
    const labels = Operations.attributesOfPeer({ protocolVersion, transport })
    const key = Object.values(labels).join(" ")
    let histogram = histograms.get(key)
    if (histogram === undefined) {
      histogram = instruments.histogram(family, labels, boundaries)
      histograms.set(key, histogram)
    }
    histogram.record(Math.max(lasted, 0) / 1_000)
  }
}
