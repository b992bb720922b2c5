/**
 * Makes the API documentation of every package from its comments into `docs/api`, and checks that each public export has
 * one:
 *
 *     node docs/src/api.ts [--check]
 */
import { globSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Application } from "typedoc"
import ts from "typescript"

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

interface Item {
  readonly name: string
  readonly line: number
  readonly isDocumented: boolean
}

const parse = (file: string) =>
  ts.createSourceFile(file, readFileSync(`${root}${file}`, "utf8"), ts.ScriptTarget.Latest, true)

const lineOf = (node: ts.Node) => node.getSourceFile().getLineAndCharacterOfPosition(node.getStart()).line + 1

/** What a statement declares, by its names. */
const declared = (statement: ts.Statement): ReadonlyArray<string> => {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText())
  }
  const isNamed = ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement) || ts.isEnumDeclaration(statement) ||
    ts.isModuleDeclaration(statement)
  return isNamed ? [statement.name?.text ?? "default"] : []
}

const isExported = (statement: ts.Statement): boolean =>
  ts.canHaveModifiers(statement) &&
  ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true

/** What a module itself declares and exports. */
const items = (source: ts.SourceFile): ReadonlyArray<Item> =>
  source.statements.filter(isExported).flatMap((statement) =>
    declared(statement).map((name) => ({
      name,
      line: lineOf(statement),
      isDocumented: ts.getJSDocCommentsAndTags(statement).length > 0
    }))
  )

/** What a module exports of another one, where it is told there. */
const handedOn = (source: ts.SourceFile): ReadonlyArray<Item> => {
  const imported = source.statements.filter(ts.isImportDeclaration)
  return source.statements.filter(ts.isExportDeclaration).flatMap(({ exportClause, moduleSpecifier }) =>
    exportClause === undefined || !ts.isNamedExports(exportClause) ? [] : exportClause.elements.flatMap((element) => {
      const name = (element.propertyName ?? element.name).text
      const of = moduleSpecifier ??
        imported.find(({ importClause }) => importClause?.namedBindings?.getText().match(new RegExp(`\\b${name}\\b`)))
          ?.moduleSpecifier
      if (of === undefined || !ts.isStringLiteral(of) || !of.text.startsWith(".")) return []
      const others = items(parse(join(dirname(source.fileName), of.text)))
      return others.filter((item) => item.name === name).map((item) => ({ ...item, line: lineOf(element) }))
    })
  )
}

/** Public exports without a comment, as `file:line name`. */
export const undocumented = (): ReadonlyArray<string> =>
  folders.flatMap(modules).flatMap((file) => {
    const source = parse(file)
    const all = [...items(source), ...handedOn(source)]
    // Both sides of a schema and its type, and all signatures of a function, are told at one of them.
    const documented = new Set(all.flatMap(({ isDocumented, name }) => isDocumented ? [name] : []))
    return all.filter(({ name }) => !documented.has(name)).map(({ line, name }) => `${file}:${line} ${name}`)
  }).sort()

if (import.meta.main) {
  const { app, project } = await convert()
  await app.generateDocs(project, `${root}docs/api`)
}
