/**
 * No connection waits for itself (admission.ts): every order of two requests, and
 * many of three, of every kind and size, at budgets that hold little more than the
 * largest one, with every outcome of what is moved at once and of what is not.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { setImmediate, setTimeout as sleep } from "node:timers/promises"
import { Budget } from "../base/budget.ts"
import { FileStore } from "../store/file-store.ts"
import type { Store } from "../store/store.ts"
import { KEY, RawPeer } from "../testing/nbd-export.ts"
import { runs } from "../testing/runs.ts"
import { HANDLE, TestEnclave } from "../testing/test-enclave.ts"
import { Volume } from "../volume/volume.ts"
import { Connection } from "./connection.ts"

const KIB = 1 << 10
const SIZE = 2 << 20
const [READ, WRITE, FLUSH, CACHE, ZEROES] = [0, 1, 3, 5, 6]
const FUA = 1

const KINDS = [
  ["WRITE 4k", WRITE, 4 * KIB, 0],
  ["WRITE 100k", WRITE, 100 * KIB, 0],
  ["WRITE 128k", WRITE, 128 * KIB, 0],
  ["WRITE 300k", WRITE, 300 * KIB, 0],
  ["WRITE 300001", WRITE, 300_001, 0],
  ["WRITE 4k FUA", WRITE, 4 * KIB, FUA],
  ["WRITE 300k FUA", WRITE, 300 * KIB, FUA],
  ["READ 4k", READ, 4 * KIB, 0],
  ["READ 300k", READ, 300 * KIB, 0],
  ["READ 100k FUA", READ, 100 * KIB, FUA],
  ["WRITE_ZEROES 8k", ZEROES, 8 * KIB, 0],
  ["CACHE 300k", CACHE, 300 * KIB, 0],
  ["FLUSH", FLUSH, 0, 0],
] as const
type Kind = (typeof KINDS)[number]

/** What becomes of a row that is tried at once: an errno. */
const AT_ONCE: Readonly<Record<string, () => number | "all">> = {
  moved: () => 0,
  "would wait": () => 11,
  "no space": () => 28,
  "no entry": () => "all",
  mixed: () => ([0, 11, 0, 28, "all", 0, 11] as const)[turn++ % 7]!,
}
let turn = 0

/** And of what the store is asked for. */
const STORE = {
  done: () => Promise.resolve(),
  late: async () => {
    for (let n = 0; n < 5; n++) await setImmediate()
  },
  failed: async () => {
    await setImmediate()
    throw Object.assign(new Error("no space"), { code: "ENOSPC" })
  },
} as const

/** Of the pairs and threes with one outcome, every how many. */
const PART = runs(1, 8)

/** [everybody's, one connection's] */
const BUDGETS = [
  [301 * KIB, 64 * KIB],
  [301 * KIB, 301 * KIB],
  [640 * KIB, 512 * KIB],
] as const

async function answers(peer: RawPeer, count: number, lengths: readonly number[]): Promise<void> {
  for (let left = count; left > 0; ) {
    const magic = (await peer.take(4)).readUInt32BE(0)
    if (magic === 0x67446698) {
      await peer.take(12)
      left--
      continue
    }
    const head = await peer.take(16)
    const type = head.readUInt16BE(2)
    const length = head.readUInt32BE(12)
    assert.ok(length <= 8 + Math.max(1100, ...lengths), `chunk type ${type} of ${length} bytes`)
    await peer.take(length)
    if ((head.readUInt16BE(0) & 1) !== 0) left--
  }
}

for (const [total, share] of BUDGETS) {
  test(`nobody waits for ever, budget ${total / KIB} KiB, share ${share / KIB} KiB`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "tresor-stuck-"))
    writeFileSync(join(folder, "store"), randomBytes(SIZE))
    const file = await FileStore.open(join(folder, "store"))
    let asked: () => Promise<void> = STORE.done
    const store = new Proxy<Store>(file, {
      get(target, key) {
        const value = Reflect.get(target, key, target)
        if (typeof value !== "function") return value
        if (key !== "read" && key !== "write" && key !== "flush") return value.bind(target)
        return async (...given: unknown[]) => {
          await asked()
          return value.apply(target, given)
        }
      },
    })
    const volume = new Volume({ store, offset: 0, size: null, sectorSize: 4096 })
    const enclave = new TestEnclave(KEY, 4096)
    volume.unlock(enclave.enclave, HANDLE)
    const connections: Connection[] = []
    const spare = () => {
      for (const connection of connections) connection.relax()
    }
    const budget = new Budget(total, { spare, relieve() {}, patienceMs: 1e6 })
    const server = createServer({ pauseOnConnect: true }, (socket: Socket) => {
      const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
      const attention = { possible: false, last: null }
      const connection = new Connection(fd, { volume, budget, share: () => share, stallMs: 10_000, attention })
      socket.destroy()
      connections.push(connection)
      void connection.run()
    })
    const path = join(folder, "nbd.sock")
    await new Promise<void>((resolve) => server.listen(path, resolve))
    const peer = await RawPeer.going(path, { structured: true })
    const other = await RawPeer.going(path, { structured: true })

    const ask = async (peer: RawPeer, kinds: readonly Kind[]) => {
      const said = kinds.map(([, type, length, flags], n) => {
        // Whole sectors or not, apart or overlapping.
        const offset = BigInt((n * 64 * KIB) % (SIZE - 512 * KIB))
        const head = RawPeer.request(type, offset, length, { flags, cookie: BigInt(n) })
        return type === WRITE ? Buffer.concat([head, Buffer.alloc(length, n + 1)]) : head
      })
      peer.say(Buffer.concat(said))
      await answers(
        peer,
        kinds.length,
        kinds.map(([, , length]) => length),
      )
    }
    const all = async (what: string, body: () => Promise<unknown>) => {
      const late = new AbortController()
      const won = await Promise.race([
        body().then(() => true),
        sleep(20_000, false, { signal: late.signal }).catch(() => false),
      ])
      late.abort()
      assert.ok(won, `stuck: ${what}`)
    }
    let round = 0
    try {
      for (const [outcome, refuse] of Object.entries(AT_ONCE)) {
        for (const [store, does] of Object.entries(STORE)) {
          enclave.refuse = refuse
          asked = does
          // Nothing is left to the store then, as a rule.
          if (store !== "done" && (outcome === "moved" || outcome === "no entry")) continue
          const name = (kinds: readonly Kind[]) =>
            `${kinds.map(([what]) => what).join(", ")}; ${outcome}; store ${store}`
          round++
          for (const [i, first] of KINDS.entries()) {
            for (const [k, second] of KINDS.entries()) {
              // A part of them tries every pair, each after another outcome.
              if ((i * KINDS.length + k + round) % PART !== 0) continue
              const kinds = [first, second]
              await all(name(kinds), () => ask(peer, kinds))
            }
          }
          // Threes beside another client that wants the same memory.
          for (let n = round % PART; n < 30; n += PART) {
            const pick = (salt: number) => KINDS[(n * 7 + salt * 5 + Math.floor(n / 13)) % KINDS.length]!
            const [mine, theirs] = [
              [pick(0), pick(1), pick(2)],
              [pick(3), pick(4)],
            ]
            await all(`${name(mine)} beside ${name(theirs)}`, () => Promise.all([ask(peer, mine), ask(other, theirs)]))
          }
        }
      }
      for (const connection of connections) connection.check()
      assert.equal(budget.free, total, "all memory was given back")
    } finally {
      peer.destroy()
      other.destroy()
      for (const connection of connections) connection.cut()
      server.close()
      asked = STORE.done
      await volume.close()
      rmSync(folder, { recursive: true })
    }
  })
}
