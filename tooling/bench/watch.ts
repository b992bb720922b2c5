/**
 * Asks a gateway what so many browsers with the dashboard ask it, and does nothing with it: the stream of events, the report
 * every 5 s, the status every 30 s. In a process of its own, so that reading costs the gateway nothing.
 *
 *   node watch.ts <url of the gateway> <viewers>   prints the bytes that a snapshot takes, then reads until its input ends
 */
import { get } from "node:http"
import { createGunzip } from "node:zlib"

const [url = "", viewers = "1"] = process.argv.slice(2)
const headers = { "accept-encoding": "gzip" }

const watch = () =>
  new Promise<number>((resolve, reject) => {
    get(`${url}/api/v1/events`, { headers, agent: false }, (response) => {
      if (response.statusCode !== 200) return reject(new Error(`HTTP ${response.statusCode}`))
      let size = 0
      let text = ""
      let searched = 0
      const unzipped = createGunzip().setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
        const begun = text.indexOf("event: snapshot\n")
        if (begun === -1 || !text.includes("\n\n", Math.max(begun, searched))) {
          searched = text.length - 1
          return
        }
        // From here on bytes are taken and thrown away.
        response.unpipe(unzipped).removeAllListeners("data").resume()
        unzipped.destroy()
        resolve(size)
      })
      response.on("data", (chunk: Buffer) => size += chunk.byteLength).pipe(unzipped)
    }).on("error", reject)
  })

const ask = (path: string) =>
  fetch(`${url}/api/v1/${path}`).then((answer) => answer.arrayBuffer()).catch(() => undefined)

const sizes = await Promise.all(Array.from({ length: Number(viewers) }, watch))
for (let viewer = 0; viewer < sizes.length; viewer++) {
  setInterval(() => void ask("report?top=11"), 5_000)
  setInterval(() => void ask("status"), 30_000)
}
console.log(Math.max(...sizes))
process.stdin.resume().on("end", () => process.exit(0))
