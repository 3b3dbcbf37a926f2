/** tsc knows a misspelt code; these know one that nothing throws, and one that is not documented. */
import assert from "node:assert/strict"
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { Status } from "../abi/enclave.ts"
import { ERROR_CODES } from "./error-codes.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const read = (pattern: string, but: (file: string) => boolean = () => false): string =>
  globSync(pattern, { cwd: root })
    .filter((file) => !but(file))
    .map((file) => readFileSync(join(root, file), "utf8"))
    .join("\n")

const source = read("src/**/*.ts", (file) => /\.test\.ts$|error-codes\.ts$|^src\/testing\//.test(file))
const codes = Object.keys(ERROR_CODES)

/** Codes with a part that comes from elsewhere: prefix to what follows it. */
const native = new Set([...read("addon/**/*.[ch]").matchAll(/"(SGX_[A-Z0-9_]+)"/g)].map(([, code]) => code!))
const derived = new Set([
  ...Object.keys(Status)
    .filter((name) => name !== "ok")
    .map((name) => `ENCLAVE_${name.toUpperCase()}`),
  ...["ATTACH", "PASSPHRASE"].flatMap((area) =>
    codes.filter((code) => {
      const errno = code.startsWith(`${area}_`) ? code.slice(area.length + 1) : ""
      return errno !== "" && new RegExp(`\\b${errno}: |"${errno}"`).test(source) && source.includes(`\`${area}_\${`)
    }),
  ),
  ...native,
])

test("every code is thrown somewhere", () => {
  const unused = codes.filter((code) => !source.includes(`"${code}"`) && !derived.has(code))
  assert.deepEqual(unused, [])
})

test("every code of the addon is known", () => {
  assert.ok(native.size > 20)
  assert.deepEqual(
    [...native].filter((code) => !codes.includes(code)),
    [],
  )
})

test("docs/errors.md shows the same list, in order", () => {
  assert.deepEqual(codes, [...codes].sort())
  const rows = [...read("docs/errors.md").matchAll(/^\| `([A-Z0-9_]+)` \| (.+) \|$/gm)].map(([, code, what]) => [
    code,
    what,
  ])
  assert.deepEqual(rows, Object.entries(ERROR_CODES))
})
