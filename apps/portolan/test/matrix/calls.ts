/**
 * What happens while a call is under way.
 */
import { assert } from "@effect/vitest"
import {
  codeOf,
  type Feature,
  handshakeClients,
  handshakeOnly,
  noticesOf,
  quiet,
  sawSince,
  tag,
  until
} from "./cell.ts"
import { bareRequest } from "./clients.ts"

const message = "notifications/message"

export const calls: ReadonlyArray<Feature> = [
  {
    name: "Progress",
    works: async ({ peer, subject: { service } }) => {
      const heard = async (name: string) => {
        const steps: Array<unknown> = []
        const token = await peer.call(`${service}__steps`, { tag: name }, { onprogress: (step) => steps.push(step) })
        return { token, steps }
      }
      const names = [tag(), tag(), tag()]
      const all = await Promise.all(names.map(heard))
      for (const [at, { steps }] of all.entries()) {
        const expected = [1, 2, 3].map((progress) => ({ progress, total: 3, message: `${names[at]} ${progress}` }))
        assert.deepStrictEqual(steps, expected)
      }
      assert.strictEqual(new Set(all.map(({ token }) => token)).size, names.length)
      // Who wants none asks for none.
      assert.strictEqual(await peer.call(`${service}__steps`), "none")
    }
  },
  {
    name: "Cancellation",
    works: async ({ peer, subject }) => {
      const saw = sawSince(subject)
      const [first, second] = [tag(), tag()]
      const abort = new AbortController()
      const call = codeOf(peer.call(`${subject.service}__wait`, { tag: first }, { signal: abort.signal }))
      const other = peer.call(`${subject.service}__wait`, { tag: second })
      await until("calls", () => saw("began").length === 2)
      abort.abort()
      await call
      await until("end at the server", () => saw("cancelled").length > 0)
      await quiet()
      assert.deepStrictEqual(saw("cancelled"), [first])
      subject.give({ order: "withdraw" })
      assert.strictEqual(await other, "went on")
    }
  },
  {
    name: "Log messages of a call",
    works: async ({ peer, subject: { service } }) => {
      await peer.setLevel()
      const messages = noticesOf(peer, message)
      assert.strictEqual(await peer.call(`${service}__log`, {}, { logLevel: "error" }), "said")
      await until("message", () => messages().length > 0)
      await quiet()
      assert.deepStrictEqual(messages(), [{ level: "error", logger: "harbour", data: `error of ${service}` }])
    }
  },
  {
    name: "Log messages outside any call",
    works: async ({ peer, subject }) => {
      await peer.setLevel()
      const messages = noticesOf(peer, message)
      const data = tag()
      subject.give({ order: "log", level: "debug", data: "too low" })
      subject.give({ order: "log", level: "error", data })
      await until("message", () => messages().length > 0)
      await quiet()
      assert.deepStrictEqual(messages(), [{ level: "error", data }])
    },
    impossible: handshakeOnly(
      "In the stateless era they come with the answer to a request",
      async ({ peer, subject }) => {
        const messages = noticesOf(peer, message)
        subject.give({ order: "log", level: "error", data: tag() })
        await quiet()
        assert.isEmpty(messages())
      }
    )
  },
  {
    name: "A log level for the session (`logging/setLevel`)",
    works: async ({ peer, subject: { service } }) => {
      await peer.setLevel()
      const messages = noticesOf(peer, message)
      await peer.call(`${service}__log`)
      await until("message", () => messages().length > 0)
      await quiet()
      assert.deepStrictEqual(messages().map((params) => params?.["level"]), ["error"])
    },
    impossible: handshakeClients(
      "The stateless era has one for each request, and refuses it (-32601)",
      async ({ url }) => {
        const { error, status } = await bareRequest(url, "logging/setLevel", { level: "error" })
        assert.deepStrictEqual([status, error?.code], [404, -32601])
      }
    )
  }
]
