import { assert, describe, it } from "vitest"
import { addressed, command, fromAddress } from "../../src/pages/tool/arguments.ts"
import type { Ended, Ending } from "../../src/pages/tool/call.ts"
import { textOf } from "../../src/pages/tool/draft.ts"
import { blocksOf, questionsOf, routedOf, size, verdictOf } from "../../src/pages/tool/outcome.ts"
import { hasWords, rowsOf, views } from "../../src/pages/tools/views.ts"
import { hintsOf, isDestructive } from "../../src/parts/hints.ts"

const ended = (ending: Ending): Ended => ({
  ending,
  took: 13,
  exchange: { headers: {}, request: "", status: 200, response: "" }
})

describe("answers of tools", () => {
  it("are shown as what they are", () => {
    const blocks = blocksOf({
      content: [
        { type: "text", text: "hello" },
        { type: "text", text: " {\"a\":1.0}" },
        { type: "image", mimeType: "image/png", data: "AAAA" },
        { type: "image", mimeType: "text/html", data: "AAAA" },
        { type: "audio", mimeType: "audio/wav", data: "AAAA" },
        { type: "resource", resource: { uri: "file:///a/b.bin", mimeType: "application/x", blob: "AAAA" } },
        { type: "resource", resource: { uri: "file:///n.md", text: "# n" } },
        { type: "resource_link", uri: "https://x.test", name: "x" },
        { type: "hologram" },
        "nothing of the kind",
        null
      ]
    })
    assert.deepStrictEqual(blocks.map(({ kind }) => kind), [
      "text",
      "json",
      "image",
      "file",
      "file",
      "file",
      "resource",
      "link",
      "json",
      "json",
      "json"
    ])
    assert.deepStrictEqual(blocks[1], { kind: "json", text: " {\"a\":1.0}", set: "{\n  \"a\": 1.0\n}" })
    assert.deepStrictEqual(blocks[2], {
      kind: "image",
      source: "data:image/png;base64,AAAA",
      type: "image/png",
      bytes: 3
    })
    assert.deepStrictEqual(blocksOf({}), [])
    assert.deepStrictEqual(blocksOf({ content: "text" }), [])
  })

  it("say how they were come by, those that failed too", () => {
    const routing = {
      instance: "weather-7c9f",
      source: "dc1",
      latency: 13,
      attempts: 2,
      failovers: 1,
      failed: [{ instance: "weather-a", phase: "notSent", reason: "refused" }, 7]
    }
    const routed = routedOf(ended({ kind: "result", result: { _meta: { "dev.portolan/routing": routing } } }))
    assert.strictEqual(routed?.instance, "weather-7c9f")
    assert.strictEqual(routed?.failovers, 1)
    assert.deepStrictEqual(routed?.failed, [{ instance: "weather-a", phase: "notSent", reason: "refused" }])
    assert.strictEqual(
      routedOf(ended({ kind: "error", code: -31001, message: "", data: { instance: "a", phase: "mayHaveRun" } }))
        ?.instance,
      "a"
    )
    assert.isUndefined(routedOf(ended({ kind: "result", result: {} })))
    assert.isUndefined(routedOf(ended({ kind: "error", code: -1, message: "", data: undefined })))
    assert.isUndefined(routedOf(ended({ kind: "cancelled" })))
  })

  it("are told in a word", () => {
    const word = (ending: Ending) => verdictOf(ended(ending)).text
    assert.strictEqual(word({ kind: "result", result: {} }), "Answered")
    assert.strictEqual(word({ kind: "result", result: { isError: true } }), "The tool says that it failed")
    assert.strictEqual(word({ kind: "result", result: { resultType: "input_required" } }), "Wants to know something")
    assert.strictEqual(word({ kind: "error", code: 1, message: "", data: 1 }), "Failed")
    assert.strictEqual(word({ kind: "cancelled" }), "Cancelled")
    assert.deepStrictEqual([size(812), size(14_200), size(999_600), size(5_240_000)], [
      "812 B",
      "14 kB",
      "1.0 MB",
      "5.2 MB"
    ])
  })

  it("may ask something", () => {
    const asked = questionsOf(ended({
      kind: "result",
      result: {
        resultType: "input_required",
        requestState: "sealed",
        inputRequests: {
          name: { method: "elicitation/create", params: { message: "Who?", requestedSchema: { type: "object" } } },
          login: { method: "elicitation/create", params: { message: "Log in", mode: "url", url: "https://x.test" } },
          odd: 7
        }
      }
    }))
    assert.strictEqual(asked?.state, "sealed")
    assert.deepStrictEqual(asked?.questions.map(({ key, message, method, url }) => [key, method, message, url]), [
      ["name", "elicitation/create", "Who?", undefined],
      ["login", "elicitation/create", "Log in", "https://x.test"],
      ["odd", "", "", undefined]
    ])
  })
})

describe("arguments", () => {
  it("leave the page in its address, where they aren't too long, and come back", () => {
    assert.deepStrictEqual(fromAddress(addressed({ city: "Évora" }) ?? null), { city: "Évora" })
    assert.isUndefined(addressed({ text: "x".repeat(5000) }))
    for (const text of [null, "", "[1]", "7"]) assert.isUndefined(fromAddress(text))
    // What it says is there to be seen and mended, rather than another number in its place.
    for (const text of ["{", "{\"id\":1234567890123456789}"]) assert.strictEqual(textOf(fromAddress(text)), text)
  })

  it("become a command that a shell reads as they are", () => {
    assert.strictEqual(
      command("weather__get", { city: "it's" }, "http://127.0.0.1:7420/"),
      "portolan call --url http://127.0.0.1:7420/ --args '{\"city\":\"it'\\''s\"}' weather__get"
    )
    assert.strictEqual(command("a b", undefined, "http://x/"), "portolan call --url http://x/ --args '{}' 'a b'")
    assert.strictEqual(command("-x", {}, "http://x/"), "portolan call --url http://x/ --args '{}' -- -x")
    // A terminal that is pasted into takes some characters for keys, and shows others as what they aren't.
    assert.include(command("a", { b: "\x7f\u202e\u009b\n" }, "http://x/"), "'{\"b\":\"\\u007f\\u202e\\u009b\\n\"}'")
  })
})

describe("tools", () => {
  const tool = (name: string, more: Record<string, unknown> = {}) => ({
    name,
    service: "lab",
    instances: ["a"],
    readOnly: false,
    repeatable: false,
    ...more
  })

  it("say of themselves what they do", () => {
    const words = (annotations: unknown) => hintsOf(annotations).map(({ word }) => word)
    assert.deepStrictEqual(words({ readOnlyHint: true, destructiveHint: true, openWorldHint: true }), [
      "read only",
      "open world"
    ])
    assert.deepStrictEqual(words({ destructiveHint: true, idempotentHint: true }), ["destructive", "idempotent"])
    for (const annotations of [undefined, null, "destructive", { destructiveHint: "yes" }]) {
      assert.deepStrictEqual(words(annotations), [])
      assert.isFalse(isDestructive(annotations))
    }
  })

  it("are listed with what became of their calls", () => {
    const counts = {
      calls: 10,
      successes: 8,
      interrupted: 0,
      failures: { failed: 1, refused: 0, unavailable: 1, shed: 0 }
    }
    const report = (rest: boolean) => ({ tools: { top: [{ tool: "a", ...counts }], ...rest ? { rest: counts } : {} } })
    const tools = [tool("a", { annotations: { destructiveHint: true } }), tool("b", { description: "Reads Things" })]
    const only = (rest: boolean) => {
      const [a, b] = rowsOf(tools, report(rest))
      return [a?.calls, a?.failed, b?.calls, b?.failed]
    }
    assert.deepStrictEqual(only(false), [10, 0.2, 0, undefined])
    // It may be among the others.
    assert.deepStrictEqual(only(true), [10, 0.2, undefined, undefined])
    const [a, b] = rowsOf(tools, undefined)
    if (a === undefined || b === undefined) return assert.fail("rows are missing")
    assert.strictEqual(a.calls, undefined)
    assert.isTrue(hasWords(b, " reads  LAB"))
    assert.isFalse(hasWords(b, "reads nothing"))
    assert.deepStrictEqual(views.filter(({ holds }) => holds(a)).map(({ title }) => title), ["All", "Destructive"])
  })
})
