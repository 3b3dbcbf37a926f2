/** A tresord that says what it holds: garbage, and what allocators keep of freed memory, left out. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { until } from "../cli/harness.ts"
import { copyInstallation } from "../cli/installation.ts"
import { programOf } from "./programs.ts"

/** Bytes. */
export interface Held {
  /** By JavaScript. */
  readonly objects: number
  /** By malloc's users but V8 itself: the addon, ArrayBuffers. */
  readonly blocks: number
}

/**
 * Put before tresord's own code. V8 keeps free pages, each with a block of malloc's, and "last-resort" gives them back. It
 * drops compiled functions that were not called lately, which would hide a leak of their size. It keeps the room of all
 * handles that there ever were at one time, which is no leak. An object's finalizer runs a turn after the object was
 * collected, and what it frees may be JavaScript's again.
 */
const TELLS = (file: string) => `
{
  const { renameSync, writeFileSync } = require("node:fs")
  const v8 = require("node:v8")
  v8.setFlagsFromString("--expose-gc")
  v8.setFlagsFromString("--no-flush-bytecode")
  const gc = require("node:vm").runInNewContext("gc")
  const inUse = require(${JSON.stringify(programOf("in_use.node"))})
  const file = ${JSON.stringify(file)}
  process.on("SIGUSR2", async () => {
    for (let n = 0; n < 4; n++) {
      gc({ type: "major", execution: "sync", flavor: "last-resort" })
      await new Promise(setImmediate)
    }
    const { used_heap_size, malloced_memory, total_global_handles_size } = v8.getHeapStatistics()
    const held = { objects: used_heap_size, blocks: inUse() - malloced_memory - total_global_handles_size }
    writeFileSync(file + ".new", JSON.stringify(held))
    renameSync(file + ".new", file)
  })
}
`

export class TellingInstallation {
  readonly tresor: string
  readonly #file: string

  /** In `folder`, which is made. */
  constructor(folder: string) {
    copyInstallation(folder)
    this.tresor = join(folder, "dist/tresor")
    this.#file = join(folder, "held.json")
    const daemon = join(folder, "dist/tresord.cjs")
    writeFileSync(daemon, TELLS(this.#file) + readFileSync(daemon, "latin1"))
  }

  /** Of a tresord that `tresor` has started. */
  async held(pid: number): Promise<Held> {
    rmSync(this.#file, { force: true })
    process.kill(pid, "SIGUSR2")
    await until("tresord says what it holds", () => existsSync(this.#file), 60_000)
    return JSON.parse(readFileSync(this.#file, "latin1"))
  }
}
