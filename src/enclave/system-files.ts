/** The files of the machine that runs this, for those who judge machines. */
import { accessSync, constants, existsSync, readFileSync } from "node:fs"
import type { SgxMachine } from "./sgx-state.ts"

export const systemFiles: Pick<SgxMachine, "read" | "exists" | "accessible"> = {
  read(path) {
    try {
      return readFileSync(path, "utf8")
    } catch {
      return null
    }
  },
  exists: existsSync,
  accessible(path) {
    try {
      accessSync(path, constants.R_OK | constants.W_OK)
      return true
    } catch {
      return false
    }
  },
}
