import { relative } from "node:path"
import { fileURLToPath } from "node:url"
import { defaultExclude, defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const root = fileURLToPath(new URL(".", import.meta.url))
const reporter = fileURLToPath(new URL("tooling/reporter.mjs", import.meta.url))

/** Files with whole gateways, real backends and all pages: what takes minutes, then what takes long. */
const long = [
  /^apps\/portolan\/test\/(outages|conformance)\/|^docs\/|\.laws\.test\.ts$/,
  /^(apps\/portolan|tooling)\/|^packages\/(consul|etcd|redis)\//
]

/** The long ones first: a run doesn't end with one of them alone. */
class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>) {
    const rank = ({ moduleId }: TestSpecification) => {
      const path = relative(root, moduleId).replaceAll("\\", "/")
      const at = long.findIndex((pattern) => pattern.test(path))
      return at < 0 ? long.length : at
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

/** What is there within so many ms by the clock wants the processors for itself: it comes after all others. */
const timed = ["**/test/dashboard/{Live,Lost}.test.ts", "**/test/RegistryFile.test.ts"]

// Serves the whole workspace from its root and each package from its own folder.
const include = [
  "test/**/*.test.ts",
  "{packages,apps,apps/examples}/*/test/**/*.test.ts",
  "{docs,tooling}/test/**/*.test.ts"
]

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 120_000,
    sequence: { sequencer: LongestFirst },
    reporters: process.stdout.isTTY === true ? ["default"] : ["minimal", reporter],
    projects: [
      {
        extends: true,
        test: {
          name: "together",
          include,
          exclude: [...defaultExclude, ...timed],
          maxWorkers: 4,
          sequence: { groupOrder: 1 }
        }
      },
      { extends: true, test: { name: "alone", include: timed, maxWorkers: 1, sequence: { groupOrder: 2 } } }
    ]
  }
})
