/**
 * The last frames that were sent, encoded once for all readers. A reader is a position in it: who falls behind its
 * beginning has lost frames, and costs nothing.
 */
import type { Topic } from "../rest/Events.ts"
import { type Packet, packetsOf } from "./packet.ts"

export interface Frame {
  readonly sequence: number
  readonly topic: Topic
  readonly packets: ReadonlyArray<Packet>
  /** Bytes. */
  readonly size: number
}

export class FrameLog {
  readonly #frames: Array<Frame> = []
  readonly #most: number
  readonly #mostBytes: number
  #bytes = 0
  #sequence = 0
  /** Readers that have seen this one or a later one can go on. */
  #from = 0

  constructor(limits: { readonly frames: number; readonly bytes: number }) {
    this.#most = limits.frames
    this.#mostBytes = limits.bytes
  }

  /** Number of the last frame. */
  get sequence(): number {
    return this.#sequence
  }

  push(topic: Topic, encode: (sequence: number) => Buffer): void {
    const bytes = encode(this.#sequence + 1)
    // One that large would push out all others, and a snapshot is no larger.
    if (bytes.byteLength > this.#mostBytes / 2) return this.cut()
    this.#frames.push({ sequence: ++this.#sequence, topic, packets: packetsOf(bytes), size: bytes.byteLength })
    this.#bytes += bytes.byteLength
    let drop = 0
    while (this.#frames.length - drop > this.#most || this.#bytes > this.#mostBytes) {
      this.#bytes -= this.#frames[drop++]!.size
    }
    if (drop === 0) return
    // In bulk, so that a push costs no shift of the whole list.
    this.#from = this.#frames[drop - 1]!.sequence
    this.#frames.splice(0, drop)
  }

  /** Forgets all frames: every reader needs a snapshot. */
  cut(): void {
    this.#frames.length = 0
    this.#bytes = 0
    this.#from = ++this.#sequence
  }

  /** The frames after a position; none where some of them are lost. */
  since(sequence: number): ReadonlyArray<Frame> | undefined {
    if (sequence < this.#from || sequence > this.#sequence) return undefined
    const first = this.#frames[0]
    return first === undefined ? [] : this.#frames.slice(Math.max(0, sequence + 1 - first.sequence))
  }
}
