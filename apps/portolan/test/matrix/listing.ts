/**
 * What servers offer, and what becomes of it.
 */
import { assert } from "@effect/vitest"
import { codeOf, eventually, type Feature, noticesOf, quiet, sawSince, since, tag, until } from "./cell.ts"
import type { Fields, Peer } from "./clients.ts"
import { toolNames } from "./offers.ts"
import { pageSize } from "./servers.ts"

const lists = ["tools", "prompts", "resources"] as const

const entriesOf = (page: Fields, list: string): ReadonlyArray<Fields> => {
  const entries = page[list]
  return Array.isArray(entries) ? entries : assert.fail(`no ${list} in ${JSON.stringify(page)}`)
}

const pagesOf = async (peer: Peer, list: (typeof lists)[number]) => {
  const pages: Array<ReadonlyArray<string>> = []
  const cursors: Array<string> = []
  for (let cursor: unknown;;) {
    const page = await peer.request(`${list}/list`, cursor === undefined ? {} : { cursor })
    pages.push(entriesOf(page, list).map(({ name, uri }) => String(uri ?? name)))
    cursor = page["nextCursor"]
    if (cursor === undefined) return { pages, cursors, names: pages.flat() }
    cursors.push(String(cursor))
  }
}

export const listing: ReadonlyArray<Feature> = [
  {
    name: "Paging",
    works: async ({ peer, subject: { seen, service } }) => {
      for (const list of lists) {
        const { cursors, names, pages } = await pagesOf(peer, list)
        assert.isAbove(pages.length, 1)
        for (const page of pages.slice(0, -1)) assert.lengthOf(page, pageSize)
        assert.isAtMost(pages.at(-1)?.length ?? 0, pageSize)
        assert.strictEqual(new Set(names).size, names.length)
        // The server was read to its last page, and its cursors stay behind the gateway.
        const own = seen.filter(({ what }) => what === `${list}/list`).map(({ about }) => about)
        for (const cursor of own) assert.notInclude(cursors, cursor)
        assert.strictEqual(await codeOf(peer.request(`${list}/list`, { cursor: `${service}2` })), -32602)
        if (list === "prompts") assert.include(names, `${service}__greet`)
        if (list === "resources") assert.includeMembers(names, [`${service}://a`, `${service}://b`])
        if (list !== "tools") continue
        assert.includeMembers(names, toolNames.map((name) => `${service}__${name}`))
        assert.includeMembers(own, [2, 4, 6, 8].map((start) => `${service}${start}`))
      }
    }
  },
  {
    name: "Lists that change",
    works: async ({ peer, subject }) => {
      for (const list of lists) {
        const name = tag()
        const notices = since(peer.notices)
        subject.give({ order: "grow", list, name })
        await eventually(`notice of ${list}`, () => notices()[0])
        const public_ = list === "resources" ? `${subject.service}://${name}` : `${subject.service}__${name}`
        assert.include((await pagesOf(peer, list)).names, public_)
        await quiet()
        assert.deepStrictEqual(notices().map(({ method }) => method), [`notifications/${list}/list_changed`])
      }
    }
  },
  {
    name: "Resources that change",
    works: async ({ peer, subject }) => {
      const [mine, other] = [`${subject.service}://a`, `${subject.service}://b`]
      const notices = noticesOf(peer, "notifications/resources/updated")
      const updated = () => notices().map((params) => params?.["uri"])
      await peer.watch(mine)
      for (const uri of [other, mine]) subject.give({ order: "update", uri })
      await until("notice", () => updated().length > 0)
      await peer.unwatch(mine)
      for (const uri of [other, mine]) subject.give({ order: "update", uri })
      await quiet()
      assert.deepStrictEqual(updated(), [mine])
    }
  },
  {
    name: "Completion",
    works: async ({ peer, subject }) => {
      const { service } = subject
      const saw = sawSince(subject)
      const complete = async (ref: Fields, more: Fields = {}) => {
        const argument = { name: "city", value: "po" }
        const { completion } = await peer.request("completion/complete", { ref, argument, ...more })
        return completion
      }
      const prompt = { type: "ref/prompt", name: `${service}__greet` }
      const template = { type: "ref/resource", uri: `${service}://cities/{city}` }
      assert.deepInclude(await complete(prompt), { values: ["porto", "portland"] })
      assert.deepInclude(await complete(prompt, { context: { arguments: { country: "pt" } } }), { values: ["porto"] })
      assert.deepInclude(await complete(template), { values: ["porto", "portland"] })
      const own = { type: "ref/prompt", name: "greet" }
      await until("word of all", () => saw("complete").length === 3)
      assert.deepStrictEqual(saw("complete"), [own, own, template])
    }
  }
]
