/**
 * Bytes for watchers, encoded once for all of them and compressed once for those that take that.
 *
 * Each packet is deflated by itself and ends on a byte (RFC 1951: a block that isn't the last, then an empty stored one), so
 * packets in any order are one stream: every connection has a gzip stream of its own (RFC 1952), which costs it a checksum.
 */
import { constants, crc32, deflateRawSync } from "node:zlib"

/** Most bytes of a packet, and what is handed to a connection at once. */
export const slice = 64 * 1024

export class Packet {
  readonly plain: Buffer
  #deflated: Buffer | undefined

  constructor(plain: Buffer) {
    this.plain = plain
  }

  get deflated(): Buffer {
    return this.#deflated ??= deflateRawSync(this.plain, { finishFlush: constants.Z_SYNC_FLUSH })
  }
}

export const packetsOf = (bytes: Buffer): ReadonlyArray<Packet> => {
  const packets: Array<Packet> = []
  for (let at = 0; at < bytes.byteLength; at += slice) packets.push(new Packet(bytes.subarray(at, at + slice)))
  return packets
}

/** How packets become the body of one answer. */
export interface Encoder {
  readonly write: (packets: ReadonlyArray<Packet>) => Buffer
  /** What ends the body; nothing: nothing has to. */
  readonly end: () => Buffer | undefined
}

export const plain: Encoder = {
  write: (packets) => Buffer.concat(packets.map((packet) => packet.plain)),
  end: () => undefined
}

// Magic, deflate, no flags, no time, unknown system.
const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])
// An empty last block.
const last = Buffer.from([3, 0])

export const gzip = (): Encoder => {
  let begun = false
  let checksum = 0
  let size = 0
  const begin = (): Array<Buffer> => {
    if (begun) return []
    begun = true
    return [header]
  }
  return {
    write: (packets) => {
      const parts = begin()
      for (const { deflated, plain } of packets) {
        checksum = crc32(plain, checksum)
        size += plain.byteLength
        parts.push(deflated)
      }
      return Buffer.concat(parts)
    },
    end: () => {
      const trailer = Buffer.alloc(8)
      trailer.writeUInt32LE(checksum, 0)
      trailer.writeUInt32LE(size % 2 ** 32, 4)
      return Buffer.concat([...begin(), last, trailer])
    }
  }
}
