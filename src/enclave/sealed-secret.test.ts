import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import fc from "fast-check"
import { formatSealed, idOf, isSealed, plainPath, readSealed, type SealedSecret, sealedPath } from "./sealed-secret.ts"

const directory = mkdtempSync(join(tmpdir(), "tresor-sealed-"))
after(() => rmSync(directory, { recursive: true }))

const write = (text: string) => writeFileSync(sealedPath(directory), text, { mode: 0o600 })
const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size })
const sealed: fc.Arbitrary<SealedSecret> = fc.record({
  id: bytes(32).map(idOf),
  tpm2: fc.record({
    pcrs: fc
      .uniqueArray(fc.nat(23))
      .chain((pcrs) =>
        fc
          .tuple(...pcrs.map(() => bytes(32)))
          .map((values) => new Map(pcrs.map((pcr, index) => [pcr, values[index]!]))),
      ),
    pin: fc.option(
      fc.record({ salt: bytes(32), iterations: fc.integer({ min: 1000, max: 10_000_000 }) }, { noNullPrototype: true }),
    ),
    parent: fc.uint8Array({ minLength: 1, maxLength: 66 }),
    kept: fc.boolean(),
    public: fc.uint8Array({ minLength: 1, maxLength: 500 }),
    private: fc.uint8Array({ minLength: 1, maxLength: 500 }),
  }),
})

test("what is written is read again", () => {
  fc.assert(
    fc.property(sealed, (secret) => {
      write(formatSealed(secret))
      const { tpm2, id } = readSealed(directory)!
      const ascending = (pcrs: ReadonlyMap<number, Uint8Array>) => [...pcrs].sort(([a], [b]) => a - b)
      assert.equal(id, secret.id)
      assert.deepEqual(ascending(tpm2.pcrs), ascending(secret.tpm2.pcrs))
      assert.deepEqual({ ...tpm2, pcrs: null }, { ...secret.tpm2, pcrs: null })
    }),
  )
})

test("what is not as documented is refused as damaged, before a TPM sees it", () => {
  const [example] = fc.sample(sealed, { numRuns: 1, seed: 7 })
  const file = JSON.parse(formatSealed({ ...example!, tpm2: { ...example!.tpm2, pin: null } }))
  const value = "00".repeat(32)
  const wrong: readonly object[] = [
    { ...file, version: 2 },
    { ...file, id: "0" },
    { ...file, more: 1 },
    ...[
      { bank: "sha1" },
      { pcrs: { "24": value } },
      { pcrs: { "07": value } },
      { pcrs: { "7": "00" } },
      // A person would wait for hours.
      { pin: { salt: value, iterations: 4_000_000_000 } },
      { pin: { salt: value, iterations: 1 } },
      { private: "0" },
      { public: "00".repeat(4097) },
      { kept: 1 },
    ].map((change) => ({ ...file, tpm2: { ...file.tpm2, ...change } })),
  ]
  const refused = { code: "MACHINE_SECRET_REFUSED", exitCode: 2, message: /damaged; .*tresor machine recover/ }
  for (const each of wrong) {
    write(JSON.stringify(each))
    assert.throws(() => readSealed(directory), refused, JSON.stringify(each))
  }
  for (const text of ["", "[]", '{"version":1,"version":1}', "\u0000"]) {
    write(text)
    assert.throws(() => readSealed(directory), refused, text)
  }
  write(" ".repeat(70_000))
  assert.throws(() => readSealed(directory), { code: "MACHINE_SECRET_REFUSED", message: /it has 70000 bytes/ })
  write(JSON.stringify(file))
  assert.equal(readSealed(directory)?.id, file.id)
})

test("a file with the secret stands above the sealed one", () => {
  assert.equal(isSealed(directory), true)
  writeFileSync(plainPath(directory), new Uint8Array(32), { mode: 0o600 })
  assert.equal(isSealed(directory), false)
})
