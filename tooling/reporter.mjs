/**
 * What a green run says beside its totals: what each adapter lacks of the conformance suite, and one plain closing line.
 */
export default class Reporter {
  /** Only the suite's own lines: a green run is quiet about everything else. */
  onUserConsoleLog({ content }) {
    for (const line of content.split("\n")) {
      if (/^laws of | skipped: /.test(line)) console.log(line)
    }
  }

  onTestRunEnd(modules) {
    const counts = { passed: 0, failed: 0, skipped: 0 }
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state in counts) counts[state]++
      }
      // A file that can't be loaded has no test that could fail.
      if (module.state() === "failed" && module.errors().length > 0) counts.failed++
    }
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  }
}
