import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { constants, gunzipSync } from "node:zlib"
import { gzip, Packet, packetsOf, plain, slice } from "../src/internal/packet.ts"

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array))

describe("packets", () => {
  it("are one gzip stream, in whatever order and parts they are written", () => {
    fc.assert(
      fc.property(fc.array(bytes, { minLength: 1 }), fc.array(fc.array(fc.nat(), { maxLength: 4 })), (all, writes) => {
        const packets = all.map((each) => new Packet(each))
        // Shared by two connections, each with its own order.
        for (const turned of [writes, writes.toReversed()]) {
          const encoder = gzip()
          const expected: Array<Buffer> = []
          const written: Array<Buffer> = []
          for (const choice of turned) {
            const chosen = choice.map((index) => packets[index % packets.length]!)
            expected.push(plain.write(chosen))
            written.push(encoder.write(chosen))
            // All of it can be read at once.
            const read = gunzipSync(Buffer.concat(written), { finishFlush: constants.Z_SYNC_FLUSH })
            assert.isTrue(read.equals(Buffer.concat(expected)))
          }
          written.push(encoder.end()!)
          assert.isTrue(gunzipSync(Buffer.concat(written)).equals(Buffer.concat(expected)))
        }
      })
    )
  })

  it("are no larger than a slice, and compressed once", () => {
    const packets = packetsOf(Buffer.alloc(3 * slice + 1, "x"))
    assert.deepEqual(packets.map((packet) => packet.plain.byteLength), [slice, slice, slice, 1])
    assert.strictEqual(packets[0]?.deflated, packets[0]?.deflated)
    assert.deepEqual(packetsOf(Buffer.alloc(0)), [])
  })
})
