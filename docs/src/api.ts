/**
 * Makes the API documentation of every package from its comments into `docs/api`, and checks that each public export has
 * one:
 *
 *     node docs/src/api.ts [--check]
 */
import { globSync } from "node:fs"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Application, type DeclarationReflection, ReflectionKind } from "typedoc"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** The modules that a package exports: all but those that its `exports` hide. */
const modules = (folder: string): ReadonlyArray<string> => {
  const { exports }: { readonly exports: Readonly<Record<string, string | null>> } = JSON.parse(
    readFileSync(`${root}${folder}/package.json`, "utf8")
  )
  const hidden = Object.entries(exports).flatMap(([path, to]) => to === null ? [path.slice(2).replace("*", "")] : [])
  return globSync(`${folder}/src/**/*.ts`, { cwd: root }).filter((file) => {
    const path = file.slice(`${folder}/src/`.length, -".ts".length)
    return path !== "index" && !hidden.some((prefix) => path.startsWith(prefix))
  })
}

const folders = globSync("packages/*", { cwd: root }).sort()

/** The documentation of all packages as typedoc sees it. */
const convert = async () => {
  const app = await Application.bootstrap({
    name: "Portolan",
    entryPoints: folders.flatMap(modules).map((file) => `${root}${file}`),
    tsconfig: `${root}docs/tsconfig.api.json`,
    out: `${root}docs/api`,
    basePath: `${root}packages`,
    readme: `${root}README.md`,
    excludeInternal: true,
    skipErrorChecking: true,
    blockTags: ["@since", "@category", "@see", "@default", "@deprecated", "@param", "@returns"],
    logLevel: "Error"
  })
  const project = await app.convert()
  if (project === undefined) throw new Error("typedoc found nothing")
  return { app, project }
}

const documented = (reflection: DeclarationReflection): boolean =>
  reflection.hasComment() || (reflection.signatures ?? []).some((signature) => signature.hasComment()) ||
  reflection.type?.type === "reflection" && (reflection.type.declaration.signatures ?? []).some((s) => s.hasComment())

/** Public exports without a comment, as `file:line name`. */
export const undocumented = async (): Promise<ReadonlyArray<string>> => {
  const { project } = await convert()
  const missing: Array<string> = []
  for (const module of project.children ?? []) {
    if (!module.kindOf(ReflectionKind.Module)) continue
    for (const item of module.children ?? []) {
      // Both sides of a schema and its type are told at the schema.
      const twin = (module.children ?? []).some((other) =>
        other !== item && other.name === item.name && documented(other)
      )
      if (item.kindOf(ReflectionKind.Reference) || documented(item) || twin) continue
      const [source] = item.sources ?? []
      missing.push(`${source?.fileName}:${source?.line} ${item.name}`)
    }
  }
  return missing.sort()
}

if (import.meta.main) {
  const { app, project } = await convert()
  await app.generateDocs(project, `${root}docs/api`)
}
