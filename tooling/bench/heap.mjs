/**
 * Loaded before a process that is measured, with `--expose-gc`: at SIGUSR2 it collects its garbage and writes how many bytes
 * are left into the file that `BENCH_HEAP` names.
 */
import { renameSync, writeFileSync } from "node:fs"

const file = process.env.BENCH_HEAP ?? ""
process.on("SIGUSR2", () => {
  for (let times = 0; times < 3; times++) globalThis.gc()
  writeFileSync(`${file}.new`, String(process.memoryUsage().heapUsed))
  renameSync(`${file}.new`, file)
})
