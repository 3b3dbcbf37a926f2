/** vectors/nbd-handshake.json from both sides: our server's bytes, and our client's. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { IoError } from "../base/io-error.ts"
import { negotiate } from "../nbd/conversation.ts"
import { RawPeer, served } from "../testing/nbd-export.ts"

interface Step {
  readonly from: "server" | "client"
  readonly what: string
  readonly hex: string
  /** Zeros behind `hex`. */
  readonly zeros?: number
}

interface Conversation {
  readonly name: string
  readonly steps: readonly Step[]
  readonly end: "transmission" | "closed"
  /** False: no server of ours says that. */
  readonly server?: boolean
  /** What our client makes of it; `null`: it gives up. Absent: it would say something else. */
  readonly client?: Readonly<Record<string, unknown>> | null
}

const vectors: { readonly export: { readonly size: number }; readonly conversations: readonly Conversation[] } =
  JSON.parse(readFileSync(new URL("../../vectors/nbd-handshake.json", import.meta.url), "utf8"))
const bytesOf = ({ hex, zeros = 0 }: Step) => Buffer.concat([Buffer.from(hex, "hex"), Buffer.alloc(zeros)])
const said = (steps: readonly Step[], from: Step["from"]) =>
  Buffer.concat(steps.filter((step) => step.from === from).map(bytesOf))

for (const { name, steps, end } of vectors.conversations.filter(({ server }) => server !== false)) {
  test(`server: ${name}`, () =>
    served(
      async ({ path }) => {
        const peer = await RawPeer.connect(path)
        for (const step of steps) {
          const bytes = bytesOf(step)
          if (step.from === "client") peer.say(bytes)
          else assert.equal((await peer.take(bytes.length)).toString("hex"), bytes.toString("hex"), step.what)
        }
        if (end === "closed") await assert.rejects(peer.take(1), /cut off/)
        else {
          // A flush is answered: transmission has begun, and nothing was said before that.
          peer.say(RawPeer.request(3, 0n, 0))
          assert.equal(await peer.simple(), 0)
        }
        peer.destroy()
      },
      { size: vectors.export.size },
    ))
}

for (const { name, steps, client } of vectors.conversations.filter((each) => each.client !== undefined)) {
  test(`client: ${name}`, () => {
    let rest = said(steps, "server")
    const sent: Buffer[] = []
    const run = () => {
      const conversation = negotiate("", (bytes) => sent.push(bytes))
      for (;;) {
        const next = conversation.next()
        if (next.done === true) return next.value
        assert.ok(next.value.length <= rest.length, "it waits for more than was said")
        next.value.set(rest.subarray(0, next.value.length))
        rest = rest.subarray(next.value.length)
      }
    }
    if (client === null) assert.throws(run, IoError)
    else assert.deepEqual(run(), client)
    assert.equal(Buffer.concat(sent).toString("hex"), said(steps, "client").toString("hex"))
    if (client !== null) assert.equal(rest.length, 0, "it has read all that was said")
  })
}

test("there are conversations for each side", () => {
  assert.ok(vectors.conversations.filter(({ server }) => server !== false).length >= 11)
  assert.ok(vectors.conversations.filter(({ client }) => client !== undefined).length >= 4)
})
