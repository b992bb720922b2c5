/**
 * Calls that run as tasks.
 */
import { assert } from "@effect/vitest"
import { codeOf, eventually, type Feature, handshakeClients, type Proof, sawSince, since, until } from "./cell.ts"
import { answers, bareRequest, type Peer } from "./clients.ts"
import { form } from "./offers.ts"

const inTask = async (peer: Peer, name: string, how: string) => {
  const { task } = await peer.request("tools/call", { name, arguments: { how }, task: { ttl: 60_000 } })
  const taskId = typeof task === "object" && task !== null && "taskId" in task ? String(task.taskId) : ""
  const settled = (...statuses: ReadonlyArray<string>) =>
    eventually(`${statuses.join()} task`, async () => {
      const { status } = await peer.request("tasks/get", { taskId })
      return statuses.includes(String(status)) ? status : undefined
    })
  const result = async () => {
    const { content } = await peer.request("tasks/result", { taskId })
    return content
  }
  return { taskId, settled, result }
}

const blocks = (value: unknown) => [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }]

/** Tasks as version 2025-11-25 has them. */
const handshakeTasks: Proof = async ({ peer, subject }) => {
  const name = `${subject.service}__research`
  const saw = sawSince(subject)
  const run = await inTask(peer, name, "run")
  assert.strictEqual(await run.settled("completed", "failed"), "completed")
  assert.deepStrictEqual(await run.result(), blocks("found"))

  const asked = since(peer.asked)
  const ask = await inTask(peer, name, "ask")
  await ask.settled("input_required")
  assert.deepStrictEqual(await ask.result(), blocks(answers.form))
  assert.strictEqual(await ask.settled("completed", "failed"), "completed")
  assert.lengthOf(asked(), 1)

  const wait = await inTask(peer, name, "wait")
  assert.strictEqual(await wait.settled("working"), "working")
  assert.strictEqual((await peer.request("tasks/cancel", { taskId: wait.taskId }))["status"], "cancelled")
  await until("end at the server", () => saw("task cancelled").length > 0)
  // Ids of servers stay behind the gateway.
  assert.lengthOf(saw("task"), 3)
  for (const { taskId } of [run, ask, wait]) assert.notInclude(saw("task"), taskId)
}

/** Tasks as the extension of the stateless era has them. */
const statelessTasks: Proof = async ({ peer, subject, url }) => {
  const name = `${subject.service}__research`
  const saw = sawSince(subject)
  const begin = async (how: string) => {
    const { error, result } = await bareRequest(url, "tools/call", { name, arguments: { how } })
    assert.strictEqual(result["resultType"], "task", JSON.stringify({ error, result }))
    return String(result["taskId"])
  }
  const settled = (taskId: string, status: string) =>
    eventually(`${status} task`, async () => {
      const { result } = await bareRequest(url, "tasks/get", { taskId })
      return result["status"] === status ? result : undefined
    })
  const run = await begin("run")
  assert.deepNestedInclude(await settled(run, "completed"), { "result.content": blocks("found") })

  const ask = await begin("ask")
  const { inputRequests } = await settled(ask, "input_required")
  const [[key, question] = ["", {}], ...others] = Object.entries(Object(inputRequests))
  assert.isEmpty(others)
  assert.deepNestedInclude(question, { method: "elicitation/create", "params.message": form.message })
  await bareRequest(url, "tasks/update", { taskId: ask, inputResponses: { [key]: answers.form } })
  assert.deepNestedInclude(await settled(ask, "completed"), { "result.content": blocks(answers.form) })

  const wait = await begin("wait")
  await settled(wait, "working")
  await bareRequest(url, "tasks/cancel", { taskId: wait })
  await until("end at the server", () => saw("task cancelled").length > 0)
  await settled(wait, "cancelled")
  assert.lengthOf(saw("task"), 3)
  for (const taskId of [run, ask, wait]) assert.notInclude(saw("task"), taskId)

  // Without the extension.
  const plain = peer.call(name)
  if (subject.era === "stateless") assert.strictEqual(await plain, "found at once")
  else assert.strictEqual(await codeOf(plain), -32021)
}

export const tasks: ReadonlyArray<Feature> = [
  {
    name: "Tasks",
    works: (cell) => cell.peer.era === "handshake" ? handshakeTasks(cell) : statelessTasks(cell)
  },
  {
    name: "A list of tasks",
    works: async ({ bare, peer, subject }) => {
      const { taskId } = await inTask(peer, `${subject.service}__research`, "run")
      const idsOf = async (client: Peer) => JSON.stringify((await client.request("tasks/list", {}))["tasks"])
      assert.include(await idsOf(peer), taskId)
      assert.notInclude(await idsOf(bare), taskId)
    },
    impossible: handshakeClients("The extension has none (-32601)", async ({ url }) => {
      const { error, status } = await bareRequest(url, "tasks/list", {})
      assert.deepStrictEqual([status, error?.code], [404, -32601])
    })
  }
]
