/**
 * Packages that are run here: how the command of each is made.
 *
 * **Gotchas**: nothing goes through a shell, and nothing that a document says takes the place of an option of the
 * command that runs it, except where it says arguments.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Given, list, NamedInput, resolve, text, withVariables } from "./inputs.ts"

const Argument = Schema.Union([
  Schema.Struct({
    type: Schema.Literal("named"),
    name: text(256),
    /** Tells an argument that somebody may give from a flag, which has no value. */
    format: Schema.optionalKey(text(64)),
    placeholder: Schema.optionalKey(text(4096)),
    ...withVariables
  }),
  Schema.Struct({ type: Schema.Literal("positional"), valueHint: Schema.optionalKey(text(256)), ...withVariables })
])
type Argument = typeof Argument.Type

/** Schema of a package in a `server.json`. */
export const Package = Schema.Struct({
  registryType: text(64),
  registryBaseUrl: Schema.optionalKey(text(2048)),
  identifier: text(2048),
  version: Schema.optionalKey(text(255)),
  fileSha256: Schema.optionalKey(text(64)),
  transport: Schema.Struct({ type: text(64) }),
  runtimeArguments: Schema.optionalKey(list(Argument, 256)),
  packageArguments: Schema.optionalKey(list(Argument, 256)),
  environmentVariables: Schema.optionalKey(list(NamedInput, 256))
})
export type Package = typeof Package.Type

/** The endpoint that runs a package; the failure tells why it can't be run. */
export const endpointOf = (item: Package, given: Given): Result.Result<unknown, string> =>
  Result.gen(function*() {
    const { fileSha256, identifier, registryType, transport } = item
    if (transport.type !== "stdio") return yield* Result.fail(`transport: only stdio is run, not ${transport.type}`)
    if (fileSha256 !== undefined) return yield* Result.fail("fileSha256: nothing that runs it would check it")
    if (item.registryBaseUrl !== undefined && !/^https?:$/.test(URL.parse(item.registryBaseUrl)?.protocol ?? "")) {
      return yield* Result.fail("registryBaseUrl: expected an http(s) URL")
    }
    const runner = Object.hasOwn(runners, registryType) ? runners[registryType] : undefined
    if (runner === undefined) {
      return yield* Result.fail(`registryType: expected ${Object.keys(runners).join(", ")}, not ${registryType}`)
    }
    if (!runner.names.test(identifier) || !/^[\w.+!-]*$/.test(item.version ?? "")) {
      return yield* Result.fail("identifier: it isn't the name and version of a package")
    }
    const env: Record<string, string | { readonly env: string }> = {}
    for (const variable of item.environmentVariables ?? []) {
      // What it needs and nobody says is taken from the environment of this process.
      const isAsked = variable.isRequired === true && variable.value === undefined && variable.default === undefined
      const value = isAsked && !(variable.isSecret !== true && Object.hasOwn(given, variable.name))
        ? { env: variable.name }
        : yield* resolve(variable, given)
      if (value !== undefined) env[variable.name] = value
    }
    const { args, command } = yield* runner.run(
      item,
      Object.keys(env),
      yield* argumentsOf(item.runtimeArguments, given)
    )
    return {
      transport: "stdio",
      command,
      args: [...args, ...yield* argumentsOf(item.packageArguments, given)],
      ...(Object.keys(env).length === 0 ? {} : { env })
    }
  })

interface Runner {
  /** Names of its registry; what else it takes (repositories, addresses, files, aliases) is named by none. */
  readonly names: RegExp
  readonly run: (
    item: Package,
    env: ReadonlyArray<string>,
    options: ReadonlyArray<string>
  ) => Result.Result<{ readonly command: string; readonly args: ReadonlyArray<string> }, string>
}

const runners: Readonly<Record<string, Runner>> = {
  npm: {
    names: /^(@[\w~][\w.~-]*\/)?\w[\w.~-]*$/,
    run: ({ identifier, registryBaseUrl, version }, _, options) => {
      const registry = registryBaseUrl === undefined ? [] : [`--registry=${registryBaseUrl}`]
      const spec = version === undefined ? identifier : `${identifier}@${version}`
      return Result.succeed({ command: "npx", args: ["-y", ...registry, ...options, spec] })
    }
  },
  pypi: {
    names: /^\w[\w.-]*$/,
    run: ({ identifier, registryBaseUrl, version }, _, options) => {
      const isOther = registryBaseUrl !== undefined && !/^https:\/\/pypi\.org\/?$/.test(registryBaseUrl)
      const index = isOther ? [`--default-index=${registryBaseUrl}`] : []
      const spec = version === undefined ? identifier : `${identifier}@${version}`
      return Result.succeed({ command: "uvx", args: [...index, ...options, spec] })
    }
  },
  oci: {
    names: /^\w[\w./:@-]*$/,
    run: ({ identifier, registryBaseUrl, version }, env, options) => {
      const host = registryBaseUrl?.replace(/^https:\/\/|\/+$/g, "") ?? "docker.io"
      if (host !== "docker.io" && !identifier.startsWith(`${host}/`)) {
        return Result.fail(`registryBaseUrl: the image isn't named by its registry ${host}`)
      }
      const hasTag = /:[^/]*$|@/.test(identifier)
      const image = version === undefined || hasTag ? identifier : `${identifier}:${version}`
      const names = env.flatMap((name) => ["-e", name])
      return Result.succeed({ command: "docker", args: ["run", "-i", "--rm", ...names, ...options, image] })
    }
  }
}

const argumentsOf = (
  items: ReadonlyArray<Argument> = [],
  given: Given
): Result.Result<ReadonlyArray<string>, string> =>
  Result.gen(function*() {
    const texts: Array<string> = []
    for (const item of items) {
      const name = item.type === "named" ? item.name : item.valueHint ?? "argument"
      const value = yield* resolve({ ...item, name }, given)
      if (item.type === "named" && (value !== undefined || isFlag(item))) texts.push(item.name)
      if (value !== undefined) texts.push(value)
    }
    return texts
  })

const isFlag = (item: Argument & { readonly type: "named" }): boolean =>
  item.format === undefined && item.placeholder === undefined && item.choices === undefined && item.isSecret !== true
