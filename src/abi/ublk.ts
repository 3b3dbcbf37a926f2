/** abi/ublk.h for TypeScript: control commands and their payloads; ublk.test.ts reads the header and compares. Pure. */
import { struct } from "./struct.ts"

export const Command = {
  getDevInfo: 0x80207502,
  addDev: 0xc0207504,
  delDev: 0xc0207505,
  startDev: 0xc0207506,
  stopDev: 0xc0207507,
  setParams: 0xc0207508,
  getParams: 0x80207509,
  startUserRecovery: 0xc0207510,
  endUserRecovery: 0xc0207511,
  getFeatures: 0x80207513,
  updateSize: 0xc0207515,
} as const

/** The kernel chooses. */
export const ANY_ID = 0xffffffff

export const State = { dead: 0, live: 1, quiesced: 2 } as const

/** Features and flags. */
export const Feature = {
  userRecovery: 1 << 3,
  userRecoveryReissue: 1 << 4,
  cmdIoctlEncode: 1 << 6,
  userCopy: 1 << 7,
  canUpdateSize: 1 << 10,
} as const

export const Type = { basic: 1 << 0, discard: 1 << 1 } as const

export const Attribute = { readOnly: 1 << 0, volatileCache: 1 << 2, fua: 1 << 3 } as const

export const deviceInfo = struct("ublk_device_info", {
  nr_hw_queues: "u16",
  queue_depth: "u16",
  state: "u16",
  pad0: "u16",
  max_io_buf_bytes: "u32",
  dev_id: "u32",
  ublksrv_pid: "u32",
  pad1: "u32",
  flags: "u64",
  ublksrv_flags: "u64",
  owner_uid: "u32",
  owner_gid: "u32",
  reserved1: "u64",
  reserved2: "u64",
})

export const basic = struct("ublk_basic", {
  attrs: "u32",
  logical_bs_shift: "u8",
  physical_bs_shift: "u8",
  io_opt_shift: "u8",
  io_min_shift: "u8",
  max_sectors: "u32",
  chunk_sectors: "u32",
  dev_sectors: "u64",
  virt_boundary_mask: "u64",
})

export const discard = struct("ublk_discard", {
  discard_alignment: "u32",
  discard_granularity: "u32",
  max_discard_sectors: "u32",
  max_write_zeroes_sectors: "u32",
  max_discard_segments: "u16",
  reserved0: "u16",
})

export const params = struct("ublk_params", { len: "u32", types: "u32", basic, discard })
