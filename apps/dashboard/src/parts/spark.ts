/**
 * The paths of a sparkline: from nothing at the foot to the highest value at the top.
 */

export interface Spark {
  readonly line: string
  readonly area: string
}

const at = (value: number): string => String(Math.round(value * 10) / 10)

export const spark = (values: ReadonlyArray<number | null | undefined>, width: number, height: number): Spark => {
  const known = (value: number | null | undefined): value is number =>
    typeof value === "number" && Number.isFinite(value)
  const top = values.reduce<number>((most, value) => known(value) && value > most ? value : most, 0)
  const step = values.length > 1 ? width / (values.length - 1) : 0
  // Half a line's width stays free, so that neither edge cuts it.
  const foot = height - 1
  const y = (value: number): number => top === 0 ? foot : foot - Math.max(0, value) / top * (height - 2)

  let line = ""
  let area = ""
  let run: Array<string> = []
  const close = (last: number) => {
    const [first] = run
    if (first === undefined) return
    line += `M${run.join("L")}`
    area += `M${first.slice(0, first.indexOf(" "))} ${height}L${run.join("L")}L${at(last * step)} ${height}z`
    run = []
  }
  values.forEach((value, index) => {
    if (known(value)) run.push(`${at(index * step)} ${at(y(value))}`)
    else close(index - 1)
  })
  close(values.length - 1)
  return { line, area }
}
