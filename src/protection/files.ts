/** The running system's files, for those who judge it. */
import { existsSync, readFileSync } from "node:fs"
import type { Files } from "./read.ts"

export const files: Files = {
  exists: existsSync,
  read(path) {
    try {
      return readFileSync(path, "utf8")
    } catch {
      return null
    }
  },
}
