/** Each script of test/cli/scripts, which together read as a manual; script.ts has their language. */
import assert from "node:assert/strict"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { Place } from "./harness.ts"
import { runScript } from "./script.ts"

const FOLDER = join(import.meta.dirname, "scripts")
const scripts = readdirSync(FOLDER).filter((file) => file.endsWith(".txt"))

for (const file of scripts) {
  const place = new Place()
  test(file, () => runScript(place, join(FOLDER, file)))
}

test("there are scripts", () => assert.ok(scripts.length >= 7, String(scripts.length)))
