/** Other people's clients: libnbd, qemu, fio, FUSE. What they wrote is compared with OpenSSL's reading of the file. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { run, served, succeed } from "./harness.ts"

const MIB = 1 << 20

test("nbdinfo finds what is offered, and nothing else", () =>
  served({}, async ({ uri, size }) => {
    const { protocol, exports } = JSON.parse(await succeed("nbdinfo", "--json", uri))
    assert.equal(protocol, "newstyle-fixed")
    const [served] = exports
    assert.equal(exports.length, 1)
    assert.deepEqual(
      {
        size: served["export-size"],
        readOnly: served.is_read_only,
        cache: served.can_cache,
        df: served.can_df,
        fastZero: served.can_fast_zero,
        flush: served.can_flush,
        fua: served.can_fua,
        multiConn: served.can_multi_conn,
        trim: served.can_trim,
        zero: served.can_zero,
        minimum: served.block_size_minimum,
        preferred: served.block_size_preferred,
        maximum: served.block_size_maximum,
        contexts: served.contexts,
      },
      {
        size,
        readOnly: false,
        cache: true,
        df: true,
        fastZero: false,
        flush: true,
        fua: true,
        multiConn: true,
        trim: false,
        zero: true,
        minimum: 1,
        preferred: 4096,
        maximum: 32 * MIB,
        contexts: ["base:allocation"],
      },
    )
    const map = JSON.parse(await succeed("nbdinfo", "--map", "--json", uri))
    assert.deepEqual(map, [{ offset: 0, length: size, type: 0, description: "data" }])
    assert.match(await succeed("nbdinfo", "--list", uri), /export="":/)
  }))

test("nbdinfo sees a read-only volume, and one with discards", async () => {
  await served({ readOnly: true }, async ({ uri }) => {
    await succeed("nbdinfo", "--is", "read-only", uri)
    assert.equal((await run("nbdinfo", "--can", "write", uri)).status, 2)
    assert.equal((await run("nbdinfo", "--can", "zero", uri)).status, 2)
  })
  await served({ discards: true }, async ({ uri }) => void (await succeed("nbdinfo", "--can", "trim", uri)))
})

test("a name that is not served is refused", () =>
  served({}, async ({ socket }) => {
    const { status, stderr } = await run("nbdinfo", `nbd+unix:///other?socket=${socket}`)
    assert.notEqual(status, 0)
    assert.match(stderr, /other/)
  }))

for (const sectorSize of [512, 4096] as const) {
  test(`nbdcopy brings an image there and back, sectors of ${sectorSize}`, () =>
    served({ sectorSize }, async ({ uri, folder, size, plaintext }) => {
      const image = join(folder, "image")
      const back = join(folder, "back")
      const bytes = randomBytes(size)
      // A part of zeros, which nbdcopy sends as WRITE_ZEROES.
      bytes.fill(0, 8 * MIB, 20 * MIB)
      writeFileSync(image, bytes)
      await succeed("nbdcopy", "--connections=4", "--requests=32", "--flush", image, uri)
      assert.ok(plaintext(0, size).equals(bytes))
      await succeed("nbdcopy", "--connections=4", uri, back)
      assert.ok(readFileSync(back).equals(bytes))
    }))
}

test("qemu-img converts there and back, and finds no difference", () =>
  served({ size: 32 * MIB }, async ({ uri, folder, size, plaintext }) => {
    const image = join(folder, "image.qcow2")
    const raw = join(folder, "image.raw")
    const back = join(folder, "back.raw")
    const bytes = randomBytes(size)
    bytes.fill(0, 3 * MIB, 9 * MIB)
    writeFileSync(raw, bytes)
    await succeed("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    await succeed("qemu-img", "convert", "-n", "-W", "-f", "qcow2", "-O", "raw", image, uri)
    assert.ok(plaintext(0, size).equals(bytes))
    await succeed("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, uri)
    await succeed("qemu-img", "convert", "-f", "raw", "-O", "raw", uri, back)
    assert.ok(readFileSync(back).equals(bytes))
    assert.equal(JSON.parse(await succeed("qemu-img", "info", "--output=json", uri))["virtual-size"], size)
  }))

/** One session of qemu-io; each command must succeed. */
async function qemuIo(uri: string, ...commands: string[]): Promise<string> {
  const output = await succeed("qemu-io", "-f", "raw", ...commands.flatMap((each) => ["-c", each]), uri)
  assert.doesNotMatch(output, /failed|error|mismatch/i)
  return output
}

for (const sectorSize of [512, 4096] as const) {
  test(`qemu-io writes at any offset, with FUA and as zeros, sectors of ${sectorSize}`, () =>
    served({ sectorSize, size: 8 * MIB }, async ({ uri, size, plaintext }) => {
      const model = Buffer.alloc(size)
      const fill = async (flag: string, pattern: number, offset: number, length: number) => {
        model.fill(pattern, offset, offset + length)
        return `write ${flag} ${flag === "-z" ? "" : `-P ${pattern}`} ${offset} ${length}`
      }
      const commands = [
        await fill("-z", 0, 0, size),
        await fill("", 0x11, 0, 100_000),
        await fill("", 0x22, 4095, 2),
        await fill("-f", 0x33, 511, 513),
        await fill("-f", 0x44, 1_000_001, 3 * MIB + 17),
        await fill("-z", 0, 1_234_567, 7654),
        await fill("", 0x55, size - 1, 1),
      ]
      await qemuIo(
        uri,
        ...commands,
        "flush",
        "read -P 0x44 1000001 200000",
        "read -P 0 1234567 7654",
        "read -P 0x55 8388607 1",
      )
      assert.ok(plaintext(0, size).equals(model))
    }))
}

test("qemu-io's discard reaches the file only where discards are allowed", async () => {
  const written = "write -P 0x66 0 4M"
  await served({ size: 8 * MIB }, async ({ uri, plaintext }) => {
    await qemuIo(uri, written, "discard 0 4M")
    assert.ok(plaintext(0, 4 * MIB).equals(Buffer.alloc(4 * MIB, 0x66)))
  })
  await served({ size: 8 * MIB, discards: true }, async ({ uri, folder }) => {
    const blocks = async () => Number(await succeed("stat", "-c", "%b", join(folder, "volume")))
    await qemuIo(uri, written, "flush")
    const before = await blocks()
    await qemuIo(uri, "discard 0 4M", "flush")
    assert.ok(before - (await blocks()) >= (4 * MIB) / 512, "the file kept its blocks")
  })
})

test("fio verifies what it wrote, in every size at once", () =>
  served({ size: 32 * MIB, sectorSize: 512 }, async ({ uri }) => {
    const job = (name: string, ...options: string[]) => [
      `--name=${name}`,
      "--ioengine=nbd",
      `--uri=${uri}`,
      "--rw=randrw",
      "--verify=crc32c",
      "--verify_fatal=1",
      "--verify_backlog=64",
      "--verify_state_save=0",
      ...options,
    ]
    const output = await succeed(
      "fio",
      "--output-format=json",
      ...job("small", "--bsrange=512-8k", "--iodepth=16", "--size=8m", "--offset=0"),
      ...job("middle", "--bsrange=4k-256k", "--iodepth=8", "--size=8m", "--offset=8m", "--fsync=32"),
      ...job("large", "--bs=1m", "--iodepth=4", "--size=16m", "--offset=16m"),
    )
    const { jobs } = JSON.parse(output.slice(output.indexOf("{")))
    assert.equal(jobs.length, 3)
    for (const each of jobs) {
      assert.equal(each.error, 0)
      assert.ok(each.read.total_ios > 0 && each.write.total_ios > 0)
    }
  }))

test("a client that never stops asking, one request at a time, keeps none of the others waiting", () =>
  served({ size: 32 * MIB }, async ({ uri }) => {
    const fio = (...options: string[]) => [
      "--name=x",
      "--ioengine=nbd",
      `--uri=${uri}`,
      "--rw=randread",
      "--bs=4k",
      "--iodepth=1",
      "--size=32m",
      ...options,
    ]
    const endless = spawn("fio", fio("--time_based", "--runtime=600"), { stdio: "ignore" })
    const gone = new Promise<void>((resolve, reject) => endless.once("exit", () => resolve()).once("error", reject))
    try {
      const output = await succeed("fio", "--output-format=json", ...fio("--numjobs=3", "--number_ios=2000"))
      const { jobs } = JSON.parse(output.slice(output.indexOf("{")))
      assert.deepEqual(
        jobs.map((each: { read: { total_ios: number } }) => each.read.total_ios),
        [2000, 2000, 2000],
      )
      assert.equal(endless.exitCode, null, "the first still asks")
    } finally {
      endless.kill()
      await gone
    }
  }))

test("nbdfuse makes it a file, which dd fills and cmp reads back", () =>
  served({ size: 16 * MIB }, async ({ uri, folder, size, plaintext }) => {
    const image = join(folder, "image")
    const directory = join(folder, "fuse")
    const mounted = join(directory, "disk")
    const bytes = randomBytes(size)
    writeFileSync(image, bytes)
    mkdirSync(directory)
    const nbdfuse = spawn("nbdfuse", ["--pidfile", join(folder, "pid"), mounted, uri], { stdio: "ignore" })
    const gone = new Promise<void>((resolve, reject) => nbdfuse.once("exit", () => resolve()).once("error", reject))
    try {
      while (!existsSync(join(folder, "pid"))) {
        await Promise.race([sleep(10), gone.then(() => Promise.reject(new Error("nbdfuse ended")))])
      }
      await succeed("dd", `if=${image}`, `of=${mounted}`, "bs=100000", "conv=notrunc,fsync", "status=none")
      assert.ok(plaintext(0, size).equals(bytes))
      await succeed("cmp", image, mounted)
    } finally {
      await run("fusermount3", "-u", directory)
      nbdfuse.kill()
      await gone
    }
  }))
