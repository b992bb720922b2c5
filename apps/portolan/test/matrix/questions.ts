/**
 * What servers ask of clients.
 */
import { assert } from "@effect/vitest"
import {
  type Cell,
  codeOf,
  eventually,
  type Feature,
  handshakeOnly,
  noticesOf,
  type Proof,
  quiet,
  sawSince,
  since,
  tag,
  until
} from "./cell.ts"
import { answers } from "./clients.ts"
import { form, sampling, url } from "./offers.ts"

/** The server asks, and reports what it was answered; a client that can't be asked isn't. */
const asks =
  (tool: string, method: string, params: object, answer: object): Proof =>
  async ({ bare, peer, subject: { era, service } }) => {
    const asked = since(peer.asked)
    assert.deepStrictEqual(JSON.parse(await peer.call(`${service}__${tool}`)), answer)
    assert.lengthOf(asked(), 1)
    const [question] = asked()
    assert.strictEqual(question?.method, method)
    assert.deepInclude(question?.params, params)
    const code = await codeOf(bare.call(`${service}__${tool}`))
    // A server of the stateless era refuses such a client by itself.
    assert.strictEqual(code, era === "handshake" ? -32601 : -32021)
    assert.isEmpty(bare.asked)
  }

const { elicitationId, ...page } = url

const ended = "notifications/elicitation/complete"

const rootsSeen = async ({ peer, subject: { service } }: Cell) => JSON.parse(await peer.call(`${service}__roots`))

/** The user goes somewhere else; the server sees that the next time it asks. */
const moves = async (cell: Cell, told: (saw: ReturnType<typeof sawSince>) => Promise<unknown> | void) => {
  const { peer, subject } = cell
  await rootsSeen(cell)
  const saw = sawSince(subject)
  const uri = `file:///${tag()}`
  await peer.moveRoots(uri)
  await told(saw)
  assert.deepStrictEqual(await rootsSeen(cell), { roots: [{ uri, name: "there" }] })
}

/** The server asks when the call is over; `hears`: what it was answered. */
const aside = (hears: (answer: unknown) => void): Proof => async ({ peer, subject }) => {
  const saw = sawSince(subject)
  assert.strictEqual(await peer.call(`${subject.service}__aside`), "begun")
  hears(await eventually("answer", () => saw("aside")[0]))
}

/** The user is asked, and says nothing until the server wants no answer any more. */
const withdraws = async (
  { peer, subject }: Cell,
  tool: string,
  meanwhile: (call: Promise<string>, withdrawn: () => number) => Promise<void>
): Promise<string> => {
  const asked = since(peer.asked)
  const { count } = peer.withdrawn
  const withdrawn = () => peer.withdrawn.count - count
  const release = peer.hold()
  const call = peer.call(`${subject.service}__${tool}`, { ask: true, tag: tag() })
  try {
    await eventually("question", () => asked()[0])
    subject.give({ order: "withdraw" })
    await meanwhile(call, withdrawn)
  } finally {
    release()
  }
  return call
}

const isNot = async (_: Promise<string>, withdrawn: () => number) => {
  await quiet()
  assert.strictEqual(withdrawn(), 0)
}

export const questions: ReadonlyArray<Feature> = [
  { name: "Elicitation by form", works: asks("form", "elicitation/create", form, answers.form) },
  { name: "Elicitation by URL", works: asks("url", "elicitation/create", page, answers.url) },
  {
    name: "The notice that such an elicitation is over",
    works: async ({ peer, subject: { service } }) => {
      const notices = noticesOf(peer, ended)
      await peer.call(`${service}__url`)
      await until("notice", () => notices().length > 0)
      assert.deepStrictEqual(notices(), [{ elicitationId }])
    },
    impossible: handshakeOnly("The stateless era has none", async ({ peer, subject: { service } }) => {
      const notices = noticesOf(peer, ended)
      assert.deepStrictEqual(JSON.parse(await peer.call(`${service}__url`)), answers.url)
      await quiet()
      assert.isEmpty(notices())
    })
  },
  { name: "Sampling", works: asks("sample", "sampling/createMessage", sampling, answers.sample) },
  {
    name: "Progress of the client with an answer",
    works: async ({ peer, subject }) => {
      const saw = sawSince(subject)
      const release = peer.hold()
      const call = peer.call(`${subject.service}__sample`)
      await until("progress", () => saw("progress").length === 2).finally(release)
      assert.deepStrictEqual(JSON.parse(await call), answers.sample)
      assert.deepStrictEqual(saw("progress"), [{ progress: 1, total: 2 }, { progress: 2, total: 2 }])
    },
    impossible: handshakeOnly(
      "Clients of the stateless era tell of none, and servers can't ask for it",
      async ({ peer, subject }) => {
        const saw = sawSince(subject)
        assert.deepStrictEqual(JSON.parse(await peer.call(`${subject.service}__sample`)), answers.sample)
        await quiet()
        assert.isEmpty(saw("progress"))
      }
    )
  },
  {
    name: "Roots",
    works: async (cell) => asks("roots", "roots/list", {}, await rootsSeen(cell))(cell)
  },
  {
    name: "The notice that roots changed",
    works: (cell) => moves(cell, (saw) => until("notice", () => saw("roots changed").length > 0)),
    impossible: handshakeOnly(
      "The stateless era has none: servers ask each time",
      (cell) =>
        moves(cell, async (saw) => {
          await quiet()
          assert.isEmpty(saw("roots changed"))
        })
    )
  },
  {
    name: "Questions outside any call",
    works: aside((answer) => assert.deepStrictEqual(answer, answers.form)),
    impossible: handshakeOnly(
      "The stateless era asks in results alone; a server of the other is refused (-32601)",
      aside((answer) => assert.property(answer, "error")),
      { "stateless → handshake": aside((answer) => assert.include(JSON.stringify(answer), "-32601")) }
    )
  },
  {
    name: "Questions that are taken back",
    works: async (cell) => {
      const text = await withdraws(cell, "wait", async (call, withdrawn) => {
        assert.strictEqual(await call, "withdrawn")
        await until("withdrawal", () => withdrawn() === 1)
      })
      assert.strictEqual(text, "withdrawn")
    },
    impossible: handshakeOnly(
      "In the stateless era they are results: a client learns of it when it answers",
      async (cell) => assert.deepStrictEqual(JSON.parse(await withdraws(cell, "form", isNot)), answers.form),
      { "stateless → handshake": async (cell) => assert.strictEqual(await withdraws(cell, "wait", isNot), "withdrawn") }
    )
  }
]
