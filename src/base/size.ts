/** Sizes in words. Pure. */

/** 1073741824 -> "1 GiB", 1500 -> "1500 B", 123456789 -> "117.7 MiB". */
export function formatSize(bytes: number | bigint): string {
  const value = Number(bytes)
  const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
  let power = 0
  while (
    power < names.length - 1 &&
    value >= 1024 ** (power + 1) &&
    (power > 0 || value >= 10240 || value % 1024 === 0)
  ) {
    power++
  }
  const scaled = value / 1024 ** power
  return `${Number.isInteger(scaled) ? scaled : scaled.toFixed(1)} ${names[power]}`
}
