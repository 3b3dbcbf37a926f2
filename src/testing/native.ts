/** An enclave of eleven pages, made and signed by the test, that does one ENCLU leaf as the host asks. */

import type { KeyObject } from "node:crypto"
import { parseConf } from "../enclave/image/conf.ts"
import type { EnclaveImage, ImageSegment } from "../enclave/image/elf.ts"
import { modulusOf, newSha256, signBytes } from "../enclave/image/keys.ts"
import { measureImage } from "../enclave/image/sgxs.ts"
import { attach, prepare, signedBytes } from "../enclave/image/sigstruct.ts"
import { LOST } from "../enclave/session.ts"
import { createEnclave, type NativeEnclave, type NativeEnclaveOptions } from "../native/addon.ts"
import { tcsPage } from "./image.ts"
import { testKey } from "./rsa-keys.ts"

export const SIZE = 0x20000
/** What the host gives is copied here before the leaf. */
export const WINDOW = 0x1000
export const HEAP = 0x5000
export const DYNAMIC = 0x8000
const DYNAMIC_SIZE = 0x8000
const PAGE = 0x1000
const TCS = [0x4000, 0x13000] as const
/** One page below its TCS lies a thread's SSA frame, and below that its stack. */
const THREADS = TCS.map((tcs) => ({ tcs, ssa: tcs - PAGE, stack: tcs - 2 * PAGE }))

export const Leaf = { ereport: 0, egetkey: 1, eexit: 4, eaccept: 5 } as const
export { LOST }

// Intel syntax. The host's request: head, then from byte 16 gate, rax, rbx, rcx, rdx, window, 1024 bytes.
// biome-ignore format: one instruction a line
const PROGRAM = [
  [0x49, 0x89, 0xe0], // mov r8, rsp
  [0x49, 0x89, 0xc9], // mov r9, rcx
  [0x48, 0x8d, 0xa3, 0x00, 0xf0, 0xff, 0xff], // lea rsp, [rbx - 0x1000]
  [0x49, 0x89, 0xfa], // mov r10, rdi
  [0x49, 0x83, 0x7a, 0x10, 0x00], // cmp qword ptr [r10 + 16], 0
  [0x74, 0xf9], // je back to the cmp
  [0x4c, 0x8d, 0x1d, 0xe2, 0xff, 0xff, 0xff], // lea r11, [base]
  [0x49, 0x8d, 0x72, 0x40], // lea rsi, [r10 + 64]
  [0x49, 0x8d, 0xbb, 0x00, 0x10, 0x00, 0x00], // lea rdi, [r11 + WINDOW]
  [0xb9, 0x00, 0x04, 0x00, 0x00], // mov ecx, 1024
  [0xf3, 0xa4], // rep movsb
  [0x49, 0x8b, 0x42, 0x18], // mov rax, [r10 + 24]
  [0x49, 0x8b, 0x5a, 0x20], // mov rbx, [r10 + 32]
  [0x4c, 0x01, 0xdb], // add rbx, r11
  [0x49, 0x8b, 0x4a, 0x28], // mov rcx, [r10 + 40]
  [0x4c, 0x01, 0xd9], // add rcx, r11
  [0x49, 0x8b, 0x52, 0x30], // mov rdx, [r10 + 48]
  [0x4c, 0x01, 0xda], // add rdx, r11
  [0xe8, 0x2d, 0x00, 0x00, 0x00], // call the site
  [0x49, 0x89, 0x42, 0x18], // mov [r10 + 24], rax
  [0x9c, 0x58], // pushfq; pop rax
  [0x49, 0x89, 0x42, 0x20], // mov [r10 + 32], rax
  [0x4d, 0x89, 0x5a, 0x28], // mov [r10 + 40], r11
  [0x49, 0x8b, 0x72, 0x38], // mov rsi, [r10 + 56]
  [0x4c, 0x01, 0xde], // add rsi, r11
  [0x49, 0x8d, 0x7a, 0x40], // lea rdi, [r10 + 64]
  [0xb9, 0x00, 0x04, 0x00, 0x00], // mov ecx, 1024
  [0xf3, 0xa4], // rep movsb
  [0x31, 0xff], // xor edi, edi
  [0x4c, 0x89, 0xc4], // mov rsp, r8
  [0x4c, 0x89, 0xcb], // mov rbx, r9
  [0xb8, 0x04, 0x00, 0x00, 0x00], // mov eax, EEXIT
].flat()
const ENCLU = [0x0f, 0x01, 0xd7, 0x90, 0x90, 0xc3] // enclu; nop; nop; ret
export const SITE = PROGRAM.length

export interface Parts {
  /** What runs at the entry in place of the program. */
  readonly code?: readonly number[]
  readonly isvSvn?: number
  readonly isvProdId?: number
  readonly xfrm?: bigint
  readonly tcs?: Parameters<typeof tcsPage>[0]
}

export interface TestEnclave {
  readonly image: EnclaveImage
  readonly mrenclave: Uint8Array
  readonly sigstruct: Uint8Array
}

function segment(offset: number, data: Uint8Array, secinfoFlags: number, measured = true): ImageSegment {
  const kind = secinfoFlags === 0x100 ? "tcs" : measured ? "reg" : "heap"
  return { offset, size: PAGE, data, secinfoFlags, measured, kind }
}

let signer: KeyObject | undefined
export function testSigner(): KeyObject {
  signer ??= testKey()
  return signer
}

/** An image that no linker made, with its SIGSTRUCT. */
export function makeEnclave(parts: Parts = {}): TestEnclave {
  const conf = parseConf(`size = ${SIZE}
ssa_frame_size = 1
isv_prod_id = ${parts.isvProdId ?? 7}
isv_svn = ${parts.isvSvn ?? 3}
misc_select = 0
attributes = 4
attribute_mask = 0xffffffffffffffff
xfrm = 3
xfrm_mask = 0xffffffffffffff1b
`)
  const code = new Uint8Array(PAGE).fill(0xcc)
  code.set(PROGRAM)
  if (parts.code !== undefined) code.set(parts.code)
  code.set(ENCLU, SITE)
  const empty = new Uint8Array()
  const segments = [
    segment(0, code, 0x205),
    segment(WINDOW, empty, 0x203),
    ...THREADS.flatMap(({ tcs, ssa, stack }) => [
      segment(stack, empty, 0x203),
      segment(ssa, empty, 0x203),
      segment(tcs, tcsPage({ ossa: BigInt(ssa), oentry: 0n, ...parts.tcs }), 0x100),
    ]),
    segment(HEAP, empty, 0x203, false),
  ]
  const image: EnclaveImage = {
    size: SIZE,
    ssaFrameSize: 1,
    miscSelect: 0,
    attributes: 4n,
    xfrm: parts.xfrm ?? 3n,
    segments,
    threads: [],
    heapSize: PAGE,
    dynamic: { offset: DYNAMIC, size: DYNAMIC_SIZE },
    encluSite: SITE,
  }
  const { mrenclave } = measureImage(image, newSha256)
  const unsigned = prepare({ mrenclave, conf, date: "20260101", debug: false })
  const key = testSigner()
  const sigstruct = attach(unsigned, modulusOf(key), signBytes(key, signedBytes(unsigned)), newSha256)
  return { image, mrenclave, sigstruct }
}

export interface ImageLoad {
  readonly machineSecret?: Uint8Array
  readonly transitionCycles?: number
  /** Another way in than the software backend. */
  readonly create?: (options: NativeEnclaveOptions) => NativeEnclave
}

/** ECREATE to the last EADD; EINIT is the caller's. */
export function loadEnclave({ image }: TestEnclave, options: ImageLoad = {}): NativeEnclave {
  const native = (options.create ?? createEnclave)({
    backend: "software",
    size: BigInt(image.size),
    ssaFrameSize: image.ssaFrameSize,
    miscSelect: image.miscSelect,
    attributes: image.attributes,
    xfrm: image.xfrm,
    transitionCycles: options.transitionCycles ?? 0,
    machineSecret: Uint8Array.from(options.machineSecret ?? new Uint8Array(32).fill(7)),
  })
  try {
    for (const { offset, size, data, secinfoFlags, measured } of image.segments) {
      native.addPages(offset, size, data, secinfoFlags, measured)
    }
    if (image.dynamic !== null) native.reserve(image.dynamic.offset, image.dynamic.size)
  } catch (error) {
    native.destroy()
    throw error
  }
  return native
}

export function startEnclave(parts: Parts = {}, options: ImageLoad = {}): NativeEnclave {
  const made = makeEnclave(parts)
  const native = loadEnclave(made, options)
  native.init(made.sigstruct, made.image.encluSite)
  return native
}

export interface Call {
  readonly leaf: number
  /** Offsets from the enclave's base. */
  readonly rbx?: number
  readonly rcx?: number
  readonly rdx?: number
  /** Up to 1024 bytes for WINDOW. */
  readonly data?: Uint8Array
  /** What to hand back 1024 bytes of, when not WINDOW. */
  readonly from?: number
  /** False: the enclave waits inside until `open(request)`. */
  readonly gate?: boolean
}

/** The bytes to enter with. */
export function callRequest({ leaf, rbx = 0, rcx = 0, rdx = 0, data, from = WINDOW, gate = true }: Call): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(64 + 1024))
  const view = new DataView(bytes.buffer)
  view.setUint32(4, bytes.length, true)
  for (const [i, value] of [gate ? 1 : 0, leaf, rbx, rcx, rdx, from].entries()) {
    view.setBigUint64(16 + 8 * i, BigInt(value), true)
  }
  bytes.set(data ?? new Uint8Array(), 64)
  return bytes
}

export function openGate(request: Uint8Array): void {
  request[16] = 1
}

export interface Result {
  readonly status: number
  /** RAX after the leaf. */
  readonly rax: number
  readonly zeroFlag: boolean
  readonly base: bigint
  readonly data: Uint8Array
}

export function call(native: NativeEnclave, what: Call): Result {
  const request = callRequest(what)
  const status = native.enter(request)
  const view = new DataView(request.buffer)
  return {
    status,
    rax: Number(view.getBigUint64(24, true)),
    zeroFlag: (view.getUint32(32, true) & 0x40) !== 0,
    base: view.getBigUint64(40, true),
    data: request.slice(64),
  }
}
