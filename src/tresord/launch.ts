/** dist/tresord.cjs. */
import { fileURLToPath } from "node:url"
import { runBundle } from "../base/bundle.ts"
import { startHardened } from "../native/hardening.ts"

startHardened("tresord")
runBundle(fileURLToPath(import.meta.url))
