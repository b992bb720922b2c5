/**
 * What the conformance suite starts as its client, for each scenario anew: `node handOver.mjs <url of the test> <url of the
 * suite's server>` has the test do it, and ends as that went.
 */
const [test, server] = process.argv.slice(2)
const { MCP_CONFORMANCE_CONTEXT: context = "{}", MCP_CONFORMANCE_SCENARIO: scenario } = process.env
const answer = await fetch(test, {
  method: "POST",
  body: JSON.stringify({ server, scenario, context: JSON.parse(context) })
})
console.log(await answer.text())
process.exit(answer.ok ? 0 : 1)
