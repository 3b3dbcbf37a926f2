/** EGETKEY of the test image (native.ts): a KEYREQUEST, and what comes back. */
import assert from "node:assert/strict"
import type { NativeEnclave } from "../native/addon.ts"
import { call, Leaf, WINDOW } from "./native.ts"

export interface KeyRequest {
  readonly name?: number
  readonly policy?: number
  readonly isvSvn?: number
  readonly cpuSvn?: readonly number[]
  readonly attributeMask?: bigint
  readonly xfrmMask?: bigint
  readonly keyId?: Uint8Array
  readonly miscMask?: number
  readonly configSvn?: number
  readonly reserved?: number
}

export function keyRequest(fields: KeyRequest = {}): Uint8Array {
  const bytes = new Uint8Array(512)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, fields.name ?? 4, true)
  view.setUint16(2, fields.policy ?? 2, true)
  view.setUint16(4, fields.isvSvn ?? 3, true)
  bytes.set(fields.cpuSvn ?? [1], 8)
  view.setBigUint64(24, fields.attributeMask ?? 0n, true)
  view.setBigUint64(32, fields.xfrmMask ?? 0n, true)
  bytes.set(fields.keyId ?? new Uint8Array(), 40)
  view.setUint32(72, fields.miscMask ?? 0, true)
  view.setUint16(76, fields.configSvn ?? 0, true)
  if (fields.reserved !== undefined) bytes[fields.reserved] = 1
  return bytes
}

/** Where the key goes. */
export const KEY_AT = WINDOW + 0x200

export const getKey = (native: NativeEnclave, fields: KeyRequest = {}) => {
  const result = call(native, { leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest(fields) })
  return { ...result, key: Buffer.from(result.data.subarray(0x200, 0x210)).toString("hex") }
}

/** The seal key, which must be granted. */
export function sealKey(native: NativeEnclave, fields: KeyRequest = {}): string {
  const { status, rax, zeroFlag, key } = getKey(native, fields)
  assert.deepEqual([status, rax, zeroFlag], [0, 0, false])
  assert.notEqual(key, "0".repeat(32))
  return key
}
