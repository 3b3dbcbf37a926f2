/** Option haggling as doc/proto.md has it, byte by byte. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { RawPeer, served } from "../testing/nbd-export.ts"

const NOTHING = Buffer.alloc(0)
const [ACK, SERVER, INFO, META] = [1, 2, 3, 4]
const [UNSUPPORTED, POLICY, INVALID, UNKNOWN, TOO_BIG] = [0x80000001, 0x80000002, 0x80000003, 0x80000006, 0x80000009]
const types = (answers: { type: number }[]) => answers.map(({ type }) => type)

test("every option is answered, and haggling goes on after each", () =>
  served(async ({ path }) => {
    const peer = await RawPeer.greeted(path)
    const goTo = (name: string, lie = 0) => {
      const data = Buffer.alloc(6 + name.length)
      data.writeUInt32BE(name.length + lie)
      data.write(name, 4)
      return data
    }
    for (const [option, data, expected] of [
      [4, NOTHING, [UNSUPPORTED]],
      [0x7fff, Buffer.alloc(100), [UNSUPPORTED]],
      [11, NOTHING, [UNSUPPORTED]],
      [5, NOTHING, [POLICY]],
      [5, Buffer.alloc(1), [INVALID]],
      [3, NOTHING, [SERVER, ACK]],
      [3, Buffer.alloc(1), [INVALID]],
      [9, RawPeer.contexts(), [INVALID]],
      [10, RawPeer.contexts("base:allocation"), [INVALID]],
      [8, Buffer.alloc(1), [INVALID]],
      [8, NOTHING, [ACK]],
      [9, RawPeer.contexts(), [META, ACK]],
      [9, RawPeer.contexts("base:"), [META, ACK]],
      [9, RawPeer.contexts("qemu:", "base:allocation"), [META, ACK]],
      [9, RawPeer.contexts("qemu:"), [ACK]],
      [10, RawPeer.contexts("base:allocation"), [META, ACK]],
      [10, RawPeer.contexts("base:", "x"), [ACK]],
      [10, Buffer.from("0000000000000001ffffffff", "hex"), [INVALID]],
      [10, Buffer.from("0000000000000000ff", "hex"), [INVALID]],
      [10, Buffer.from("0000000178" + "00000000", "hex"), [UNKNOWN]],
      [6, NOTHING, [INVALID]],
      [6, goTo("", 1), [INVALID]],
      [6, goTo("", 0xffffffff), [INVALID]],
      [6, Buffer.from("000000000001", "hex"), [INVALID]],
      [6, goTo("other"), [UNKNOWN]],
      [7, goTo("other"), [UNKNOWN]],
      [6, goTo(""), [INFO, INFO, ACK]],
      [7, goTo(""), [INFO, INFO, ACK]],
    ] as const) {
      const answers = await peer.ask(option, data)
      assert.deepEqual(types(answers), [...expected], `option ${option} with ${data.toString("hex")}`)
      assert.ok(answers.every((answer) => answer.option === option))
    }
    peer.say(RawPeer.request(3, 0n, 0))
    assert.equal(await peer.simple(), 0)
    peer.destroy()
  }))

test("an option longer than any is refused, and the next one served", () =>
  served(
    async ({ path }) => {
      const peer = await RawPeer.greeted(path)
      await peer.ask(8, NOTHING)
      for (const length of [16385, 70_000, 3_000_000]) {
        for (const [option, expected] of [
          [7, TOO_BIG],
          [3, TOO_BIG],
          [10, TOO_BIG],
          [0x7fff, UNSUPPORTED],
        ] as const) {
          assert.deepEqual(types(await peer.ask(option, Buffer.alloc(length, 7))), [expected], `${option} of ${length}`)
          assert.deepEqual(types(await peer.ask(3, NOTHING)), [SERVER, ACK])
        }
      }
      assert.equal((await peer.ask(7, Buffer.alloc(6))).at(-1)!.type, ACK)
      peer.say(RawPeer.request(3, 0n, 0))
      assert.equal(await peer.simple(), 0)
      peer.destroy()
    },
    { stallMs: 20_000 },
  ))

test("the export is described by size, flags and block sizes", () =>
  served(async ({ path, volume }) => {
    const peer = await RawPeer.greeted(path)
    const [description, blocks] = await peer.ask(6, Buffer.from("000000000000", "hex"))
    // HAS_FLAGS, FLUSH, FUA, WRITE_ZEROES, CAN_MULTI_CONN, CACHE; DF only goes with structured replies.
    assert.equal(description!.data.toString("hex"), `0000${volume.size.toString(16).padStart(16, "0")}054d`)
    assert.equal(blocks!.data.toString("hex"), "0003000000010000100002000000")
    await peer.ask(8, NOTHING)
    const [structured] = await peer.ask(6, Buffer.from("000000000000", "hex"))
    assert.equal(structured!.data.readUInt16BE(10), 0x05cd)
    peer.destroy()
  }))

for (const [flags, length] of [
  [1, 134],
  [3, 10],
] as const) {
  test(`EXPORT_NAME is answered with ${length} bytes`, () =>
    served(async ({ path, volume }) => {
      const peer = await RawPeer.greeted(path, flags)
      peer.option(1, NOTHING)
      const answer = await peer.take(length)
      assert.equal(answer.readBigUInt64BE(0), BigInt(volume.size))
      assert.ok(answer.subarray(10).every((byte) => byte === 0))
      peer.say(RawPeer.request(0, 0n, 16))
      assert.equal(await peer.simple(), 0)
      await peer.take(16)
      peer.destroy()
    }))
}

test("where the protocol has no answer the connection ends", () =>
  served(async ({ path }) => {
    const unknownName = await RawPeer.greeted(path)
    unknownName.option(1, Buffer.from("other"))
    await unknownName.cutOff()
    const unknownFlag = await RawPeer.greeted(path, 7)
    await unknownFlag.cutOff()
    const abort = await RawPeer.greeted(path)
    assert.deepEqual(types(await abort.ask(2, NOTHING)), [ACK])
    await abort.cutOff()
    const overLong = await RawPeer.greeted(path)
    // Its end is waited for, for as long as a handshake may take.
    overLong.option(7, NOTHING, 0xffffffff)
    await overLong.cutOff()
  }))

test("a handshake and requests that come byte by byte are understood", () =>
  served(async ({ path }) => {
    const peer = await RawPeer.connect(path)
    const go = Buffer.from("00000003 49484156454f5054 00000007 00000006 00000000 0000".replaceAll(" ", ""), "hex")
    const write = Buffer.concat([RawPeer.request(1, 5n, 11), Buffer.from("one by one!")])
    for (const byte of Buffer.concat([go, write, RawPeer.request(0, 5n, 11)])) {
      peer.say(Buffer.of(byte))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await peer.take(18)
    for (const type of [INFO, INFO, ACK]) assert.equal((await peer.answer()).type, type)
    assert.equal(await peer.simple(), 0)
    assert.equal(await peer.simple(), 0)
    assert.equal((await peer.take(11)).toString(), "one by one!")
    peer.destroy()
  }))
