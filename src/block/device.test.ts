/** Commands in their order, over a fake of ublk that fails when it is told to. Real ones: test/vm. */
import assert from "node:assert/strict"
import { afterEach, mock, test } from "node:test"
import { decode, encode } from "../abi/struct.ts"
import { Attribute, Command, deviceInfo, Feature, params } from "../abi/ublk.ts"
import { Exit, TresorError } from "../base/errors.ts"
import type { NativeDisk } from "../native/disk.ts"
import { type NativeServer, type Told, ublk } from "../native/ublk.ts"
import { type DeviceOptions, UblkDevice, within } from "./device.ts"

const ID = 7
const NAMES = new Map<number, string>(Object.entries(Command).map(([name, number]) => [number, name]))

interface Fake {
  readonly calls: string[]
  /** Errnos of a call, one after the other; what is left over goes well. */
  readonly fails: Record<string, string[]>
  readonly payloads: Map<string, Uint8Array>
  told: Told
  /** Of GET_PARAMS. */
  standing: Parameters<typeof encode<typeof params.fields>>[1]
  /** START_DEV and STOP_DEV do not come back. */
  hangs: boolean
  /** How many servers lose tags to the end of the one before. */
  losing: number
  /** How often the server is looked at before nothing is under way. */
  busy: number
}

function fake(): Fake {
  const state: Fake = {
    calls: [],
    fails: {},
    payloads: new Map(),
    told: () => {},
    standing: { basic: { logical_bs_shift: 12, dev_sectors: 2048n } },
    hangs: false,
    busy: 0,
    losing: 0,
  }
  const step = (name: string) => {
    state.calls.push(name)
    const code = state.fails[name]?.shift()
    if (code !== undefined) throw Object.assign(new Error(name), { code })
  }
  mock.method(ublk, "ublkControl", async (operation: number, id: number, data: number, payload: Uint8Array) => {
    const name = NAMES.get(operation)!
    state.payloads.set(name, payload.slice())
    step(name)
    if (operation !== Command.addDev) assert.equal(id, ID)
    if (operation === Command.startDev || operation === Command.endUserRecovery) assert.equal(data, process.pid)
    if (state.hangs && (operation === Command.startDev || operation === Command.stopDev)) await new Promise(() => {})
    const answer = payload.slice()
    if (operation === Command.addDev) encode(deviceInfo, { ...decode(deviceInfo, payload), dev_id: ID }, answer)
    if (operation === Command.getParams) encode(params, { len: params.size, ...state.standing }, answer)
    return answer
  })
  mock.method(ublk, "ublkOpen", (_disk: NativeDisk, id: number, queues: number, depth: number, ...rest: unknown[]) => {
    assert.equal(id, ID)
    assert.ok(queues >= 1 && depth === 128)
    state.told = rest[1] as Told
    step("serve")
    return {} as NativeServer
  })
  mock.method(ublk, "ublkSetMode", (_server: NativeServer, mode: number) => void state.calls.push(`mode ${mode}`))
  mock.method(ublk, "ublkWhole", () => state.losing-- <= 0)
  mock.method(ublk, "ublkDrained", () => state.busy-- <= 0)
  mock.method(ublk, "ublkStop", () => void state.calls.push("end"))
  return state
}

afterEach(() => mock.restoreAll())

const options = (more: Partial<DeviceOptions> = {}): DeviceOptions => ({
  disk: {} as NativeDisk,
  sectorSize: 4096,
  size: 1 << 20,
  readOnly: false,
  discards: false,
  mark: 0x1234n,
  onStarved() {},
  onEnded() {},
  ...more,
})
const info = { ...decode(deviceInfo, new Uint8Array(deviceInfo.size)), dev_id: ID, nr_hw_queues: 2, queue_depth: 128 }
const none = () => {}

test("a device is added, described, served and announced before it is started", async () => {
  const kernel = fake()
  const device = await UblkDevice.create(options(), (path) => void kernel.calls.push(path))
  assert.deepEqual(kernel.calls, ["addDev", "setParams", "serve", "/dev/ublkb7", "startDev"])
  const added = decode(deviceInfo, kernel.payloads.get("addDev")!)
  assert.equal(added.ublksrv_flags, 0x1234n)
  const wanted = Feature.userCopy | Feature.userRecovery | Feature.userRecoveryReissue | Feature.cmdIoctlEncode
  assert.equal(added.flags, BigInt(wanted))
  const { basic, discard } = decode(params, kernel.payloads.get("setParams")!)
  assert.equal(basic.attrs, Attribute.volatileCache | Attribute.fua)
  assert.equal(basic.logical_bs_shift, 12)
  assert.equal(basic.dev_sectors, 2048n)
  assert.equal(basic.max_sectors, 256)
  assert.equal(discard.max_discard_sectors, 0)
  assert.equal(discard.max_write_zeroes_sectors, 256)
  assert.equal(device.size, 1 << 20)
})

test("sectors of 512, discards and read-only are the device's", async () => {
  const kernel = fake()
  await UblkDevice.create(options({ sectorSize: 512, discards: true }), none)
  const one = decode(params, kernel.payloads.get("setParams")!)
  assert.equal(one.basic.logical_bs_shift, 9)
  assert.equal(one.basic.physical_bs_shift, 12)
  assert.ok(one.discard.max_discard_sectors > 0)
  await UblkDevice.create(options({ readOnly: true, discards: true }), none)
  const other = decode(params, kernel.payloads.get("setParams")!)
  assert.equal(other.basic.attrs & Attribute.readOnly, Attribute.readOnly)
  assert.equal(other.discard.max_discard_sectors, 0)
  assert.equal(other.discard.max_write_zeroes_sectors, 0)
})

for (const [step, undone] of [
  ["addDev", []],
  ["setParams", ["delDev"]],
  ["serve", ["delDev"]],
  ["startDev", ["end", "delDev"]],
] as const)
  test(`a device whose ${step} fails is taken back`, async () => {
    const kernel = fake()
    kernel.fails[step] = ["ENOMEM"]
    await assert.rejects(UblkDevice.create(options(), none), /ENOMEM|serve/)
    assert.deepEqual(kernel.calls.slice(kernel.calls.indexOf(step) + 1), undone)
  })

test("a node that is not there yet is waited for", async () => {
  const kernel = fake()
  kernel.fails["serve"] = ["ENOENT", "ENOENT"]
  await UblkDevice.create(options(), none)
  assert.equal(kernel.calls.filter((each) => each === "serve").length, 3)
})

test("a start that hangs ends when a queue has", async () => {
  const kernel = fake()
  kernel.hangs = true
  const ends: string[] = []
  const starting = UblkDevice.create(options({ onEnded: (errno) => void ends.push(errno) }), none)
  while (!kernel.calls.includes("startDev")) await new Promise((resolve) => setImmediate(resolve))
  kernel.told("ended", "EIO")
  await assert.rejects(starting, { code: "BLOCK_FAILED", message: /a queue ended \(EIO\)/ })
  assert.deepEqual(kernel.calls.slice(-2), ["end", "delDev"])
  assert.deepEqual(ends, ["EIO"])
})

test("a killed tresord's device is taken over, once the kernel has found it dead", async () => {
  const kernel = fake()
  kernel.fails["startUserRecovery"] = ["EBUSY", "EBUSY"]
  kernel.fails["serve"] = ["EBUSY"]
  // Smaller than the volume has become: that is a resize's.
  const device = await UblkDevice.recover(info, options({ size: 2 << 20 }))
  assert.deepEqual(kernel.calls, [
    "getParams",
    ...["startUserRecovery", "startUserRecovery", "startUserRecovery"],
    ...["serve", "serve", "endUserRecovery"],
  ])
  assert.equal(device.size, 1 << 20)
})

for (const [what, standing] of [
  ["another sector size", { basic: { logical_bs_shift: 9, dev_sectors: 2048n } }],
  ["more bytes than the volume", { basic: { logical_bs_shift: 12, dev_sectors: 4096n } }],
  ["read-only", { basic: { logical_bs_shift: 12, dev_sectors: 2048n, attrs: Attribute.readOnly } }],
] as const)
  test(`a device left behind with ${what} is not taken over`, async () => {
    const kernel = fake()
    kernel.standing = standing
    await assert.rejects(UblkDevice.recover(info, options()), { code: "BLOCK_EXISTS", exitCode: 5 })
    assert.deepEqual(kernel.calls, ["getParams"])
  })

test("a recovery that fails leaves the device for the next one", async () => {
  const kernel = fake()
  kernel.fails["endUserRecovery"] = ["EINTR"]
  await assert.rejects(UblkDevice.recover(info, options()), { code: "BLOCK_FAILED" })
  assert.deepEqual(kernel.calls.slice(-2), ["endUserRecovery", "end"])
})

test("a device goes: what waits fails, it is stopped, its threads end, it is deleted", async () => {
  const kernel = fake()
  const ends: string[] = []
  const device = await UblkDevice.create(options({ onEnded: (errno) => void ends.push(errno) }), none)
  kernel.calls.length = 0
  await device.remove()
  kernel.told("ended", "")
  assert.deepEqual(kernel.calls, ["mode 2", "stopDev", "end", "delDev"])
  assert.deepEqual(ends, [])
})

test("threads end also when the kernel does not stop the device", async () => {
  const kernel = fake()
  const device = await UblkDevice.create(options(), none)
  kernel.calls.length = 0
  kernel.fails["stopDev"] = ["EBUSY"]
  await assert.rejects(device.remove(), { code: "BLOCK_FAILED", exitCode: 5 })
  assert.deepEqual(kernel.calls, ["mode 2", "stopDev", "end"])
})

test("what a disk keeps for ever is given up", async () => {
  const late = new TresorError("BLOCK_FAILED", Exit.wrongDevice, "Cannot stop it: it is not done after 1 s")
  await assert.rejects(within(1, new Promise(() => {}), late), late)
  assert.equal(await within(60_000, Promise.resolve(3), late), 3)
})

test("requests without a key, and a size that changed, are told", async () => {
  const kernel = fake()
  let starved = 0
  const device = await UblkDevice.create(options({ onStarved: () => void starved++ }), none)
  kernel.told("starved", "")
  assert.equal(starved, 1)
  await device.resize(3 << 20)
  assert.equal(device.size, 3 << 20)
  device.leave()
  assert.deepEqual(kernel.calls.slice(-2), ["updateSize", "end"])
})

test("a device is let go of once nothing is under way, and taken back by the same process", async () => {
  const kernel = fake()
  const device = await UblkDevice.create(options(), none)
  kernel.calls.length = 0
  kernel.busy = 3
  assert.equal(await device.drain(), true)
  device.leave()
  const again = await UblkDevice.recover(device.info, options())
  assert.deepEqual(kernel.calls, ["mode 3", "end", "getParams", "startUserRecovery", "serve", "endUserRecovery"])
  assert.equal(again.id, ID)
})

test("a recovery whose tags the kernel takes back begins again, and is given up after some", async () => {
  const kernel = fake()
  kernel.losing = 1
  await UblkDevice.recover(info, options())
  const lost = ["startUserRecovery", "serve", "end"]
  assert.deepEqual(kernel.calls, ["getParams", ...lost, ...lost.slice(0, 2), "endUserRecovery"])
  kernel.calls.length = 0
  kernel.fails["serve"] = ["ENODEV"]
  await UblkDevice.recover(info, options())
  assert.deepEqual(kernel.calls, ["getParams", ...lost.slice(0, 2), ...lost.slice(0, 2), "endUserRecovery"])
  kernel.losing = Number.POSITIVE_INFINITY
  await assert.rejects(UblkDevice.recover(info, options()), { code: "BLOCK_FAILED" })
  assert.deepEqual(kernel.calls.slice(-3), lost)
})

test("a device with requests that do not end is not drained", async () => {
  const kernel = fake()
  const device = await UblkDevice.create(options(), none)
  kernel.busy = Number.POSITIVE_INFINITY
  assert.equal(await device.drain(5), false)
  assert.deepEqual(kernel.calls.slice(-1), ["mode 3"])
})
