/**
 * A real Chromium for tests of web pages: the one on the PATH, else Debian's, which is installed where that may be done.
 *
 * **Mental model**: other backends are unpacked beside the workspace; a browser needs too much of the system for that, so
 * it is installed as a package. `flock` sees to it that of several test processes one does so and the others wait; its lock
 * ends with whoever holds it.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { promisify } from "node:util"
import { Unavailable } from "./Debian.ts"

const run = promisify(execFile)

const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
const installed = "/usr/bin/chromium"
const lock = "/var/lock/portolan-chromium"

const found = async (): Promise<string | undefined> => {
  const folders = (process.env["PATH"] ?? "").split(Path.delimiter).filter((folder) => Path.isAbsolute(folder))
  for (const path of folders.flatMap((folder) => names.map((name) => Path.join(folder, name)))) {
    if (!await Fs.access(path, Fs.constants.X_OK).then(() => true, () => false)) continue
    // It may be there before all that it needs is: another process may be about to install it.
    if (await Fs.access(lock).then(() => true, () => false)) {
      await run("flock", ["-s", lock, "true"], { timeout: 600_000 })
    }
    return path
  }
  return undefined
}

const install = async (): Promise<string> => {
  if (process.getuid?.() !== 0) throw new Error("only root can install it")
  const apt = "apt-get -qq -o Acquire::Retries=2 -o DPkg::Lock::Timeout=300"
  const command = `test -x ${installed} || { ${apt} update && ${apt} install -y --no-install-recommends chromium; }`
  await run("flock", [lock, "sh", "-c", command], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    timeout: 600_000
  })
  return installed
}

/**
 * Path of a Chromium. Installs Debian's the first time, where we are root.
 *
 * @category constructors
 * @since 0.2.0
 */
export const executable: Effect.Effect<string, Unavailable> = Effect.tryPromise({
  try: async () => await found() ?? await install(),
  catch: (cause) =>
    new Unavailable({
      reason: `chromium can't be had here: ${
        String(cause instanceof Error ? cause.message : cause).trim().split("\n").at(-1)
      }; install it so that it is on the PATH`
    })
})

/**
 * Why there is no Chromium on this machine; `undefined` where there is.
 *
 * @category accessors
 * @since 0.2.0
 */
export const unavailable: Effect.Effect<string | undefined> = Effect.match(executable, {
  onFailure: (error) => error.reason,
  onSuccess: () => undefined
})
