/** dist/tresord.cjs. */
import { fileURLToPath } from "node:url"
import { runBundle } from "../bundle.ts"

runBundle(fileURLToPath(import.meta.url))
