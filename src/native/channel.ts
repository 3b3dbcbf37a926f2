/** A connected socket with memory of its own; addon/io/channel.c. */
import { addon } from "./addon.ts"

/** `receive`, `send`: bytes moved, or a negative errno. `at`, `length`: bytes of `buffer`. */
export interface NativeChannel {
  readonly buffer: ArrayBuffer
  receive(at: number, length: number, microseconds: number): number
  /** Rows of two, at most `channelRows`: where in the buffer, and how many bytes. */
  send(table: Float64Array, rows: number): number
  /** Without waiting, with the descriptors that came along, which are the caller's; -1 in the rest of `fds`. */
  receiveWith(at: number, length: number, fds: Int32Array): number
  sendWith(at: number, length: number, fd: number): number
  /** Another's memory to send from, once; rows from `channelLent` on are in it. */
  lend(buffer: ArrayBuffer): void
  poll(events: number): void
  forget(at: number, length: number): void
  /** Stays the channel's; -1: closed. */
  descriptor(): number
  hungUp(): boolean
  close(): void
}

interface ChannelFunctions {
  readonly channelRows: number
  readonly channelLent: number
  /** `fd` is duplicated; `size`: of the buffer, bytes. `onEvent`: READABLE, WRITABLE or both, as `poll` asked for. */
  createChannel(fd: number, size: number, onEvent: (events: number) => void): NativeChannel
}

export const { channelRows, channelLent, createChannel } = addon as unknown as ChannelFunctions

export const READABLE = 1
export const WRITABLE = 2
