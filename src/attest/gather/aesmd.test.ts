import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import type { Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, afterEach, test } from "node:test"
import {
  type Answer,
  aesmd,
  bytesField,
  numberField,
  ok,
  quote,
  report,
  serveAesmd,
  targetInfo,
} from "../../testing/aesmd.ts"
import { getQuote, initQuote, quoteFrom } from "./aesmd.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-aesm-"))
const path = join(folder, "aesm.socket")
after(() => rmSync(folder, { recursive: true }))
let server: Server | undefined
afterEach(async () => {
  if (server !== undefined) await new Promise((resolve) => server!.close(resolve))
  server = undefined
})

const serve = async (answer: Parameters<typeof serveAesmd>[1]): Promise<void> => {
  server = await serveAesmd(path, answer)
}

test("a quote through the three calls, cut to its length", async () => {
  const fake = aesmd()
  await serve(fake.answer)
  const made = await quoteFrom(async (info) => {
    assert.deepEqual(Buffer.from(info), targetInfo)
    return report
  }, path)
  assert.deepEqual(Buffer.from(made), quote)
  assert.deepEqual(fake.calls, [15, 15, 16, 17])
})

test("an attestation key that went away is initialised again, once", async () => {
  const fake = aesmd({ loseKey: 1 })
  await serve(fake.answer)
  assert.deepEqual(Buffer.from(await quoteFrom(async () => report, path)), quote)
  assert.deepEqual(fake.calls, [15, 15, 16, 17, 15, 15, 16, 17])
})

test("it gives up when the key goes away every time", async () => {
  await serve(aesmd({ loseKey: 9 }).answer)
  await assert.rejects(
    quoteFrom(async () => report, path),
    { code: "AESM_42", message: /not initialised/ },
  )
})

test("nobody there: what to install", async () => {
  await assert.rejects(initQuote(join(folder, "none")), {
    code: "AESM_MISSING",
    message: /nothing listens at .*; install and start sgx-aesm-service/,
  })
})

const refusals: readonly (readonly [string, Answer, string, RegExp])[] = [
  ["no plugin", numberField(1, 30), "AESM_30", /libsgx-aesm-quote-ex-plugin/],
  ["no certificate", numberField(1, 44), "AESM_44", /PCCS/],
  ["a report of elsewhere", numberField(1, 47), "AESM_47", /refuses the report/],
  ["an error we have no words for", numberField(1, 99), "AESM_99", /error 99/],
  ["no error code", numberField(3, 32), "AESM_PROTOCOL", /another request/],
  ["success without content", ok, "AESM_PROTOCOL", /no key id size/],
  ["a hangup", (socket) => socket.end(), "AESM_PROTOCOL", /closed the connection/],
  ["a frame of 4 GiB", (socket) => socket.write(Buffer.alloc(4, 0xff)), "AESM_PROTOCOL", /malformed/],
  ["more than the frame", (socket) => socket.write(Buffer.from([1, 0, 0, 0, 0, 0])), "AESM_PROTOCOL", /malformed/],
  ["no protobuf", (socket) => socket.write(Buffer.from([2, 0, 0, 0, 0x7a, 0xff])), "AESM_PROTOCOL", /not a protobuf/],
]
for (const [name, answer, code, message] of refusals) {
  test(`refused: ${name}`, async () => {
    await serve(() => answer)
    await assert.rejects(initQuote(path), { code, message })
  })
}

test("a TARGETINFO of another size and a truncated quote are refused", async () => {
  await serve((_, body) =>
    Buffer.concat([ok, numberField(3, 32), ...(body.get(3) === 1n ? [bytesField(2, targetInfo.subarray(1))] : [])]),
  )
  await assert.rejects(initQuote(path), { code: "AESM_PROTOCOL", message: /511 bytes/ })
  await new Promise((resolve) => server!.close(resolve))
  for (const cut of [quote.subarray(0, -1), quote.subarray(0, 100)]) {
    await serve((call) => Buffer.concat([ok, call === 16 ? numberField(2, 8192) : bytesField(2, cut)]))
    await assert.rejects(getQuote(report, path), { code: "AESM_PROTOCOL", message: /truncated/ })
    await new Promise((resolve) => server!.close(resolve))
    server = undefined
  }
  await assert.rejects(getQuote(report.subarray(1), path), RangeError)
})
