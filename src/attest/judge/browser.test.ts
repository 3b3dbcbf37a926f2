/** The judge runs where there is no Node: bundled for a browser, in a world that has only what browsers have. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { createContext, runInContext } from "node:vm"
import { build } from "esbuild"
import { at, base, binding, body, mrenclave, policy, rootPair } from "../../testing/synthetic-quote.ts"
import { makePlatform } from "../gather/platform.ts"
import { toHex } from "./bytes.ts"
import type { Verdict } from "./verify.ts"

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** Everything of the judge, and one function to try it with: text in, text out. */
const ENTRY = `
  import { fromHex } from ${JSON.stringify(here("bytes.ts"))}
  import { parseRootKey } from ${JSON.stringify(here("certificates.ts"))}
  import { parseBundle } from ${JSON.stringify(here("collateral.ts"))}
  import { parsePolicy } from ${JSON.stringify(here("policy.ts"))}
  import { verifyQuote } from ${JSON.stringify(here("verify.ts"))}
  globalThis.judge = async (text) => {
    const { quote, collateral, policy, at, root, publicKey, nonce } = JSON.parse(text)
    return JSON.stringify(await verifyQuote({
      quote: fromHex(quote),
      collateral: parseBundle(collateral),
      policy: parsePolicy(policy),
      at: new Date(at),
      rootKey: parseRootKey(new TextEncoder().encode(root)),
      binding: { publicKey: fromHex(publicKey), nonce: fromHex(nonce) },
    }))
  }`

test("the judge needs nothing of Node", async () => {
  const { outputFiles, errors } = await build({
    stdin: { contents: ENTRY, resolveDir: here("."), loader: "js" },
    bundle: true,
    platform: "browser",
    format: "iife",
    write: false,
    logLevel: "silent",
  })
  assert.deepEqual(errors, [])
  const world = createContext(
    { crypto: globalThis.crypto, TextEncoder, TextDecoder, atob, btoa },
    { codeGeneration: { strings: false, wasm: false } },
  )
  runInContext(outputFiles[0]!.text, world)
  for (const name of ["process", "Buffer", "require"]) assert.equal(runInContext(`typeof ${name}`, world), "undefined")

  const platform = await makePlatform(base, rootPair)
  const quote = await platform.quote(await body())
  const judge = (world as { judge: (text: string) => Promise<string> }).judge
  const verdictOn = async (bytes: Uint8Array): Promise<Verdict> =>
    JSON.parse(
      await judge(
        JSON.stringify({
          quote: toHex(bytes),
          collateral: JSON.stringify(platform.bundle),
          policy: JSON.stringify(policy),
          at: at.toISOString(),
          root: platform.rootCertificate,
          publicKey: toHex(binding.publicKey),
          nonce: toHex(binding.nonce),
        }),
      ),
    )
  const accepted = await verdictOn(quote)
  assert.deepEqual([accepted.reason, accepted.mrenclave], ["every check passed", mrenclave])
  const altered = Uint8Array.from(quote)
  altered[60]! ^= 1
  assert.equal((await verdictOn(altered)).decidedBy, "quote-signature")
})
