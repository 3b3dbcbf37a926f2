/** Clients in words, by the process that connected. */
import { readdirSync, readFileSync } from "node:fs"

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim()
  } catch {
    return null
  }
}

/** Devices of the kernel's driver, by the process that attached them. */
function kernelDevices(): Map<string, string> {
  const devices = new Map<string, string>()
  for (const name of readdirSync("/sys/block").filter((each) => each.startsWith("nbd"))) {
    const pid = read(`/sys/block/${name}/pid`)
    if (pid !== null) devices.set(pid, `/dev/${name}`)
  }
  return devices
}

/** "nbdfuse (process 12), /dev/nbd0"; each once. */
export function nameClients(pids: readonly number[]): string {
  const devices = kernelDevices()
  const names = pids.map((pid) => {
    const device = devices.get(String(pid))
    if (device !== undefined) return device
    return `${read(`/proc/${pid}/comm`) ?? "a client whose process has ended or is hidden"} (process ${pid})`
  })
  return [...new Set(names)].join(", ")
}
