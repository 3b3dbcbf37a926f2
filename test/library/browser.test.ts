/** "tresor/luks2" and "tresor/attest" in a real browser: Debian's Chromium, headless, with their bundle. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { test } from "node:test"
import { build } from "esbuild"
import { makePlatform } from "../../src/attest/gather/platform.ts"
import { toHex } from "../../src/attest/judge/bytes.ts"
import type { Verdict } from "../../src/attest/judge/verify.ts"
import { at, base, binding, body, mrenclave, policy, rootPair } from "../../src/testing/synthetic-quote.ts"
import { Place, root, run } from "../cli/harness.ts"

/** A user's page: it asks for the inputs, and posts what the libraries say of them. */
const PAGE = `
  import { parseBundle, parsePolicy, parseRootKey, verifyQuote } from "tresor/attest"
  import { decodeHeader, tampering } from "tresor/luks2"
  const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
  async function judge({ quote, collateral, policy, at, root, publicKey, nonce }) {
    return verifyQuote({
      quote: bytes(quote),
      collateral: parseBundle(collateral),
      policy: parsePolicy(policy),
      at: new Date(at),
      rootKey: parseRootKey(new TextEncoder().encode(root)),
      binding: { publicKey: bytes(publicKey), nonce: bytes(nonce) },
    })
  }
  async function main() {
    const { quotes, header } = await (await fetch("/inputs")).json()
    const verdicts = []
    for (const each of quotes) verdicts.push(await judge(each))
    const { uuid, metadata } = await decodeHeader(bytes(header))
    return { agent: navigator.userAgent, verdicts, uuid, slots: metadata.keyslots.size, tampered: tampering(metadata) }
  }
  main()
    .catch((error) => ({ error: String(error?.stack ?? error) }))
    .then((said) => fetch("/said", { method: "POST", body: JSON.stringify(said) }))
`

interface Said {
  readonly error?: string
  readonly agent: string
  readonly verdicts: readonly Verdict[]
  readonly uuid: string
  readonly slots: number
  readonly tampered: unknown
}

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: PAGE, resolveDir: root, loader: "js" },
    alias: {
      "tresor/attest": join(root, "src/attest/judge/index.ts"),
      "tresor/luks2": join(root, "src/luks2/index.ts"),
    },
    bundle: true,
    platform: "browser",
    format: "esm",
    write: false,
    logLevel: "silent",
  })
  return outputFiles[0]!.text
}

async function read(request: IncomingMessage): Promise<string> {
  let text = ""
  for await (const chunk of request.setEncoding("utf8")) text += chunk
  return text
}

/** Serves the page at localhost, which browsers take for a secure context; resolves with what it posts. */
async function inBrowser(script: string, inputs: object, profile: string): Promise<Said> {
  const page = '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>'
  let said: (value: Said) => void = () => {}
  const answer = new Promise<Said>((resolve) => {
    said = resolve
  })
  const server = createServer(async (request, response) => {
    if (request.url === "/page.js") response.setHeader("content-type", "text/javascript").end(script)
    else if (request.url === "/inputs")
      response.setHeader("content-type", "application/json").end(JSON.stringify(inputs))
    else if (request.url === "/said") {
      said(JSON.parse(await read(request)) as Said)
      response.end()
    } else response.setHeader("content-type", "text/html").end(page)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  // Without its services that look for hosts of Google's; root has no sandbox.
  const quiet = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
  const words = [...quiet.split(" "), "--disable-sync", "--disable-component-update", `--user-data-dir=${profile}`]
  const browser = run("timeout", [
    "120",
    "chromium",
    ...words,
    "--remote-debugging-port=0",
    `http://127.0.0.1:${port}/`,
  ])
  try {
    const ended = browser.then(({ code, stderr }): never => {
      throw new Error(`chromium ended with ${code} before the page said anything: ${stderr}`)
    })
    ended.catch(() => {})
    return await Promise.race([answer, ended])
  } finally {
    await run("pkill", ["-f", `user-data-dir=${profile}`])
    await browser.catch(() => {})
    server.closeAllConnections()
    server.close()
  }
}

test("Chromium verifies a quote, refuses an altered one, and reads a header", async () => {
  const place = new Place()
  const key = place.file("key", "correct horse")
  const path = place.path("disk.img")
  const made = await place.tresor(["create", path, "--size", "20M", "--key-file", key, "--no-recovery", "--json"])
  assert.equal(made.code, 0, made.stderr)
  const { uuid } = JSON.parse(made.stdout) as { uuid: string }

  const platform = await makePlatform(base, rootPair)
  const quote = await platform.quote(await body())
  const altered = Uint8Array.from(quote)
  altered[60]! ^= 1
  const quotes = [quote, altered].map((bytes) => ({
    quote: toHex(bytes),
    collateral: JSON.stringify(platform.bundle),
    policy: JSON.stringify(policy),
    at: at.toISOString(),
    root: platform.rootCertificate,
    publicKey: toHex(binding.publicKey),
    nonce: toHex(binding.nonce),
  }))
  const header = toHex(readFileSync(path).subarray(0, 1 << 20))
  const said = await inBrowser(await bundle(), { quotes, header }, place.path("profile"))
  assert.equal(said.error, undefined)
  assert.match(said.agent, /Chrom/)
  assert.deepEqual(
    said.verdicts.map(({ verdict, decidedBy }) => [verdict, decidedBy === "quote-signature"]),
    [
      ["accepted", false],
      ["refused", true],
    ],
  )
  assert.equal(said.verdicts[0]!.mrenclave, mrenclave)
  assert.deepEqual([said.uuid, said.slots, said.tampered], [uuid, 1, null])
})
