/**
 * Binaries out of Debian packages, unpacked into a folder of the workspace.
 *
 * **Mental model**: the mirror and its key are read from the system's apt sources; everything that apt writes goes to
 * folders of our own, so the system's package state stays as it is and nothing need be updated beforehand. Signatures
 * are checked by apt.
 *
 * **Gotchas**: several test processes may want the same package at once. Each unpacks into a folder of its own, and one
 * atomic rename decides who was first; so there is no lock that a killed process could leave behind.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

/**
 * Error raised when a binary can't be had here: why, in one line.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Data.TaggedError("Unavailable")<{ readonly reason: string }> {
  override get message(): string {
    return this.reason
  }
}

/**
 * A binary and the package that brings it.
 *
 * @category models
 * @since 0.1.0
 */
export interface DebianBinary {
  readonly package: string
  /** Name of the program: `usr/bin/<binary>` in the package. */
  readonly binary: string
  /** Suite of the archive; none: the one of this system. */
  readonly suite?: string | undefined
  /** Packages unpacked into the same folder: those of the libraries that a small system lacks. */
  readonly with?: ReadonlyArray<string> | undefined
}

const cache = fileURLToPath(new URL("../../../node_modules/.cache/portolan-backends/", import.meta.url))
const run = promisify(execFile)

/**
 * Finds the binary in the cache, or unpacks it there, or takes the one on the PATH; answers its path.
 *
 * @category constructors
 * @since 0.1.0
 */
export const locate = (wanted: DebianBinary): Effect.Effect<string, Unavailable> =>
  Effect.tryPromise({
    try: async () => {
      const release = await osRelease()
      const suite = wanted.suite ?? release.codename
      const folder = Path.join(cache, `${wanted.package}-${suite}-${process.arch}`)
      const unpacked = wanted.with === undefined
        ? Path.join(folder, "usr", "bin", wanted.binary)
        : Path.join(folder, "run", wanted.binary)
      if (await executable(unpacked)) return unpacked
      try {
        await unpack([wanted.package, ...wanted.with ?? []], suite, release.codename, folder)
        return unpacked
      } catch (cause) {
        const found = await onPath(wanted.binary)
        if (found !== undefined) return found
        throw cause
      }
    },
    catch: (cause) =>
      new Unavailable({
        reason: `${wanted.binary} can't be had here: ${firstLine(cause)}; install it so that it is on the PATH`
      })
  })

const unpack = async (
  names: ReadonlyArray<string>,
  suite: string,
  codename: string,
  folder: string
): Promise<void> => {
  const mirror = await debianMirror(codename)
  await Fs.mkdir(cache, { recursive: true })
  const work = await Fs.mkdtemp(Path.join(cache, "apt-"))
  try {
    await Promise.all(
      ["lists/partial", "cache/archives/partial"].map((path) => Fs.mkdir(Path.join(work, path), { recursive: true }))
    )
    await Fs.writeFile(Path.join(work, "status"), "")
    await Fs.writeFile(
      Path.join(work, "one.sources"),
      `Types: deb\nURIs: ${mirror.uri}\nSuites: ${suite}\nComponents: main\n` +
        (mirror.signedBy === undefined ? "" : `Signed-By: ${mirror.signedBy}\n`)
    )
    const apt = (...args: ReadonlyArray<string>) =>
      run(
        "apt-get",
        [
          "-qq",
          ...[
            `Dir::Etc::sourcelist=${work}/one.sources`,
            "Dir::Etc::sourceparts=/dev/null",
            "Dir::Etc::preferencesparts=/dev/null",
            `Dir::State::lists=${work}/lists`,
            `Dir::State::status=${work}/status`,
            `Dir::Cache=${work}/cache`,
            // An archived suite is valid for ever.
            "Acquire::Check-Valid-Until=false",
            "Acquire::Languages=none",
            "Acquire::Retries=2",
            "Acquire::http::Timeout=20",
            "APT::Sandbox::User=root"
          ].flatMap((option) => ["-o", option]),
          ...args
        ],
        { cwd: work, timeout: 90_000 }
      )
    await apt("update")
    await apt("download", ...names)
    const root = Path.join(work, "root")
    const archives = (await Fs.readdir(work)).filter((file) => file.endsWith(".deb"))
    if (archives.length < names.length) throw new Error(`${suite} has not all of ${names.join(", ")}`)
    for (const archive of archives) await run("dpkg", ["-x", Path.join(work, archive), root])
    if (names.length > 1) await writeLaunchers(root, folder)
    // Loses against a process that was quicker, which is as good.
    await Fs.rename(root, folder).catch((cause) => {
      if (errorCode(cause) !== "ENOTEMPTY" && errorCode(cause) !== "EEXIST") throw cause
    })
  } finally {
    await Fs.rm(work, { recursive: true, force: true })
  }
}

/** For each program a script in `run/` that starts it with the libraries beside it. */
const writeLaunchers = async (root: string, folder: string): Promise<void> => {
  await Fs.mkdir(Path.join(root, "run"))
  const libraries: Array<string> = []
  for (const lib of ["lib", "usr/lib"]) {
    for (const name of await Fs.readdir(Path.join(root, lib)).catch(() => [])) {
      libraries.push(`${folder}/${lib}/${name}`)
    }
  }
  for (const bin of ["bin", "usr/bin", "usr/sbin"]) {
    for (const name of await Fs.readdir(Path.join(root, bin)).catch(() => [])) {
      await Fs.writeFile(
        Path.join(root, "run", name),
        `#!/bin/sh\nLD_LIBRARY_PATH="${libraries.join(":")}" exec "${folder}/${bin}/${name}" "$@"\n`,
        { mode: 0o755 }
      )
    }
  }
}

interface Mirror {
  readonly uri: string
  readonly signedBy: string | undefined
}

// The first source that carries this release's own suite; the add-on archives of others carry different ones.
const debianMirror = async (codename: string): Promise<Mirror> => {
  const parts = "/etc/apt/sources.list.d"
  const files = [
    "/etc/apt/sources.list",
    ...(await Fs.readdir(parts).catch(() => [])).sort().map((file) => Path.join(parts, file))
  ]
  for (const file of files) {
    const text = await Fs.readFile(file, "utf8").catch(() => "")
    const found = file.endsWith(".sources") ? fromStanzas(text, codename) : fromLines(text, codename)
    if (found !== undefined) return found
  }
  throw new Error(`the apt sources name no Debian mirror for ${codename}`)
}

const fromStanzas = (text: string, codename: string): Mirror | undefined => {
  for (const stanza of text.split(/\n\s*\n/)) {
    const field = (name: string) => new RegExp(`^${name}:\\s*(.+)$`, "mi").exec(stanza)?.[1]?.trim()
    const uri = field("URIs")?.split(/\s+/)[0]
    if (uri !== undefined && field("Suites")?.split(/\s+/).includes(codename) === true) {
      return { uri, signedBy: field("Signed-By") }
    }
  }
  return undefined
}

const fromLines = (text: string, codename: string): Mirror | undefined => {
  for (const line of text.split("\n")) {
    const [, options, uri, suite] = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s/.exec(line) ?? []
    if (uri !== undefined && suite === codename) return { uri, signedBy: /signed-by=(\S+)/i.exec(options ?? "")?.[1] }
  }
  return undefined
}

const osRelease = async () => {
  const text = await Fs.readFile("/etc/os-release", "utf8").catch(() => "")
  const codename = /^VERSION_CODENAME=(\S+)$/m.exec(text)?.[1]
  if (!/^ID="?debian"?$/m.test(text) || codename === undefined) return { codename: `${Os.platform()}-${Os.release()}` }
  return { codename }
}

const executable = (path: string) => Fs.access(path, Fs.constants.X_OK).then(() => true, () => false)

const onPath = async (binary: string): Promise<string | undefined> => {
  for (const folder of (process.env["PATH"] ?? "").split(Path.delimiter)) {
    const path = Path.join(folder, binary)
    if (Path.isAbsolute(path) && await executable(path)) return path
  }
  return undefined
}

const errorCode = (cause: unknown): unknown =>
  typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined

const firstLine = (cause: unknown): string => {
  const text = cause instanceof Error && "stderr" in cause && typeof cause.stderr === "string" && cause.stderr !== ""
    ? cause.stderr
    : cause instanceof Error
    ? cause.message
    : String(cause)
  return text.trim().split("\n")[0] ?? ""
}
