/**
 * What one watcher has read of the event feed, and what it is sent next. Plain and synchronous.
 */
import type { Topic } from "../rest/Events.ts"
import type { Frame } from "./frameLog.ts"
import { type Encoder, Packet, slice } from "./packet.ts"

/** What a reader asks the feed for. */
export interface Feed {
  /** The frames after a position; none where some of them are lost. */
  readonly since: (sequence: number) => ReadonlyArray<Frame> | undefined
  /** Everything as it is, at a position. */
  readonly snapshot: (
    topics: ReadonlySet<Topic>
  ) => { readonly sequence: number; readonly packets: ReadonlyArray<Packet> }
  readonly resync: (reason: string) => Packet
  /** The last beat. */
  readonly beat: () => { readonly number: number; readonly packet: Packet }
}

const retry = new Packet(Buffer.from("retry: 2000\n\n"))

const sizeOf = ({ plain }: Packet): number => plain.byteLength

export class FeedReader {
  readonly #feed: Feed
  readonly #topics: ReadonlySet<Topic>
  readonly #encoder: Encoder
  // What is to be sent before anything else; packets are shared.
  readonly #pending: Array<Packet> = [retry]
  #at = 0
  #beaten: number
  #ended = false

  /** Goes on after a position, or begins with a snapshot, for a reason if there is one. */
  constructor(feed: Feed, topics: ReadonlySet<Topic>, encoder: Encoder, from: number | string | undefined) {
    this.#feed = feed
    this.#topics = topics
    this.#encoder = encoder
    this.#beaten = feed.beat().number
    if (typeof from === "number") this.#at = from
    else this.#begin(from)
  }

  /** What there is to send now; nothing: wait. */
  take(): Buffer | undefined {
    if (this.#ended) return undefined
    if (this.#pending.length === 0) this.#gather()
    let size = 0
    let count = 0
    for (const packet of this.#pending) {
      size += sizeOf(packet)
      if (size > slice && count > 0) break
      count++
    }
    return count === 0 ? undefined : this.#encoder.write(this.#pending.splice(0, count))
  }

  /** What ends the stream, once. */
  end(): Buffer | undefined {
    if (this.#ended) return undefined
    this.#ended = true
    return this.#encoder.end()
  }

  #begin(reason: string | undefined): void {
    if (reason !== undefined) this.#pending.push(this.#feed.resync(reason))
    const { packets, sequence } = this.#feed.snapshot(this.#topics)
    this.#pending.push(...packets)
    this.#at = sequence
  }

  #gather(): void {
    const since = this.#feed.since(this.#at)
    if (since === undefined) {
      return this.#begin("events were lost: this connection is too slow, or too much changed at once")
    }
    let size = 0
    for (const frame of since) {
      if (size >= slice) return
      this.#at = frame.sequence
      if (!this.#topics.has(frame.topic)) continue
      this.#pending.push(...frame.packets)
      size += frame.size
    }
    const { number, packet } = this.#feed.beat()
    if (this.#beaten === number) return
    this.#beaten = number
    this.#pending.push(packet)
  }
}
