/** dist/tresord.cjs. */
import { fileURLToPath } from "node:url"
import { runBundle } from "../bundle.ts"
import { startHardened } from "../hardening.ts"

startHardened("tresord")
runBundle(fileURLToPath(import.meta.url))
