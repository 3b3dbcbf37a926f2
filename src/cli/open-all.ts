/** `open --all`: the volumes of /etc/tresortab that are opened at boot, by the units that tresor-generator made of it. */
import { spawn } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { searchPath, tryRun } from "../base/programs.ts"

/** What starts them at boot; the second those that need the network. */
const TARGETS = ["tresor.target", "remote-fs.target"]
const OURS = /^tresor(-unlock)?@(.+)\.service$/

/** Units of the volumes, those with noauto left out, as a boot does. `folder`: where generators write. */
function units(folder: string): string[] {
  const folders = TARGETS.flatMap((target) => ["requires", "wants"].map((kind) => join(folder, `${target}.${kind}`)))
  return folders
    .filter((each) => existsSync(each))
    .flatMap((each) => readdirSync(each))
    .filter((unit) => OURS.test(unit))
    .sort()
}

/** What `systemctl is-active` does not call so; all of them, where it says nothing. */
async function notActive(command: string, units: readonly string[]): Promise<string[]> {
  const { stdout } = await tryRun(command, ["is-active", "--", ...units]).catch(() => ({ stdout: "" }))
  const states = stdout.split("\n")
  return units.filter((_, index) => states[index] !== "active")
}

/**
 * Starts all that are not open, and waits; systemd asks for passphrases on this terminal, once for volumes with
 * password-cache. Throws NO_SYSTEMD, OPEN_ALL (exit 4).
 */
export async function openAll(folder = "/run/systemd/generator", command = "systemctl"): Promise<void> {
  if (!existsSync(folder)) {
    throw new TresorError(
      "NO_SYSTEMD",
      Exit.wrongDevice,
      "Cannot open the volumes of /etc/tresortab: systemd, which does that, does not run here; open them one by one",
    )
  }
  const found = units(folder)
  if (found.length === 0) return
  const env = { ...process.env, PATH: searchPath() }
  const child = spawn(command, ["start", "--", ...found], { stdio: "inherit", env })
  const code = await new Promise<number>((resolve) => {
    child.on("error", () => resolve(127))
    child.on("close", (status) => resolve(status ?? 128))
  })
  if (code === 0) return
  const closed = await notActive(command, found)
  const names = closed.map((unit) => OURS.exec(unit)![2]).join(", ")
  throw new TresorError(
    "OPEN_ALL",
    Exit.wrongDevice,
    `Cannot open ${names === "" ? "all volumes" : names} of /etc/tresortab: systemctl exited with ${code}; ` +
      (process.getuid!() === 0 ? "" : "run as root, or ") +
      `\`systemctl status ${closed.join(" ")}\` says why`,
  )
}
