/**
 * A volume on an RBD image, with a lease, on two hosts; the cluster fails under it in each of its ways. As root: the second
 * host is a network namespace. docs/lease.md is the recipe that is followed here.
 */
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { alive, run, until } from "../cli/harness.ts"
import { Load, nbdSocket } from "../upgrade/harness.ts"
import { Cluster, succeed } from "./cluster.ts"
import { Host, LEASE_SECONDS } from "./host.ts"

const [CLUSTER, FAR] = ["10.231.78.1", "10.231.78.2"]
const NAMESPACE = `tresor-ceph-${process.pid}`
const IMAGE = "work"
/** Who is fenced. */
const BLOCKLIST = ["osd", "blocklist", "ls"] as const

const ip = (...args: string[]) => succeed("ip", args, {})

const cluster = new Cluster(CLUSTER)
const here = new Host(null, IMAGE, cluster.env)
const there = new Host(NAMESPACE, IMAGE, cluster.env)
const key = here.place.file("key", "correct horse")

before(async () => {
  await ip("netns", "add", NAMESPACE)
  await ip("link", "add", "tresorceph0", "type", "veth", "peer", "name", "tresorceph1", "netns", NAMESPACE)
  await ip("address", "add", `${CLUSTER}/30`, "dev", "tresorceph0")
  await ip("-n", NAMESPACE, "address", "add", `${FAR}/30`, "dev", "tresorceph1")
  await ip("link", "set", "tresorceph0", "up")
  for (const device of ["tresorceph1", "lo"]) await ip("-n", NAMESPACE, "link", "set", device, "up")
  const started = Date.now()
  await cluster.start()
  await cluster.rbd("create", "--size", "256M", "--image-feature", "layering,exclusive-lock", IMAGE)
  process.stdout.write(`the cluster took ${(Date.now() - started) / 1000} s\n`)
  await here.serve()
  await there.serve()
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  await good(here.tresor("create", here.uri, "--key-file", key, "--portable", "--no-recovery", ...kdf))
})

after(async () => {
  for (const host of [here, there]) await host.stop()
  await cluster.stop()
  await run("ip", ["link", "delete", "tresorceph0"])
  await run("ip", ["netns", "delete", NAMESPACE])
})

/** Of a command that is to succeed. */
async function good(work: Promise<{ code: number; stdout: string; stderr: string }>): Promise<string> {
  const { code, stdout, stderr } = await work
  assert.equal(code, 0, `${stderr}${stdout}`)
  return stdout
}

const fio = (host: Host, ...more: string[]) =>
  run("fio", [
    ...["--name=verify", "--ioengine=nbd", `--uri=${host.plain}`, "--rw=randwrite", "--bs=16k", "--iodepth=16"],
    ...[
      "--size=8m",
      "--offset=64m",
      "--verify=crc32c",
      "--verify_fatal=1",
      "--verify_state_save=0",
      "--fsync=64",
      ...more,
    ],
  ])

/** Until it is held again and requests are served. */
const serves = (host: Host) =>
  until("requests are served again", async () => (await host.io("read 0 4k")).code === 0, 120_000)

test("open, a load that verifies, and close; the other host is refused as long as the first has it", async () => {
  await good(here.open(key))
  assert.equal((await here.status()).lease.state, "held")
  const refused = await there.open(key)
  assert.equal(refused.code, 5)
  assert.match(
    refused.stderr,
    /^tresor: error: Cannot open nbd\+unix:\S+ \S+ \(process \d+\) has the lease ceph:tresor@rbd\/work, for \d+ s more unless renewed; close the volume there, or [^\n]+\n$/,
  )
  assert.ok(refused.stderr.includes(`(process ${here.daemon})`))
  // Longer than the lease: it is renewed under load.
  await good(fio(here, `--runtime=${LEASE_SECONDS + 5}`, "--time_based"))
  assert.equal((await there.open(key)).code, 5)
  assert.equal((await here.status()).lease.state, "held")
  await good(here.io("write -P 0x11 0 1M", "flush"))
  await good(here.tresor("close", "work"))
  // Given back, not expired; and nobody has to be fenced.
  await good(there.open(key))
  await good(there.io("read -P 0x11 0 1M"))
  await good(there.tresor("close", "work"))
  assert.doesNotMatch(await cluster.ceph(...BLOCKLIST), /10\.231/)
})

test("an OSD that is killed and started, and a monitor, are a pause for a load, and nothing is lost", async () => {
  await good(here.open(key, "--store-timeout", "120"))
  const load = fio(here, "--loops=2")
  await sleep(1000)
  await cluster.kill("osd")
  await sleep(3000)
  await cluster.startOsd()
  await cluster.kill("mon")
  await sleep(1000)
  cluster.startMonitor()
  await good(load)
  await until("the lease is held", async () => (await here.status()).lease.state === "held", 60_000)
  await good(here.tresor("close", "work"))
})

for (const [what, fail, mend] of [
  ["stopped OSD", () => cluster.kill("osd"), () => cluster.startOsd()],
  [
    "full pool",
    async () => {
      await cluster.ceph("osd", "pool", "set-quota", "rbd", "max_bytes", "1000000")
      await until("it is full", async () => (await cluster.ceph("health", "detail")).includes("POOL_FULL"), 120_000)
    },
    () => cluster.ceph("osd", "pool", "set-quota", "rbd", "max_bytes", "0"),
  ],
] as const)
  test(`a ${what} ends in EIO after the store's timeout, in words that say where to look, and goes on when it is mended`, async () => {
    await good(here.open(key, "--store-timeout", "10"))
    await good(here.io("write -P 0x22 0 64k", "flush"))
    await fail()
    await until("writes fail", async () => (await here.io("write -P 0x33 1M 64k", "flush")).code !== 0, 60_000)
    await until(
      "status says why",
      async () => {
        const { server, lease } = await here.status()
        return server.state === "failing" || lease.state === "expired"
      },
      60_000,
    )
    const { stdout } = await here.tresor("status", "work")
    assert.match(
      stdout,
      /requests end in errors until it is (back; look at it, and whether its storage is down or full|renewed; look at the store)/,
    )
    await mend()
    await serves(here)
    await until("the lease is held", async () => (await here.status()).lease.state === "held", 60_000)
    await good(here.io("read -P 0x22 0 64k", "write -P 0x44 1M 64k", "flush", "read -P 0x44 1M 64k"))
    await good(here.tresor("close", "work"))
  })

/** Opens on another host once the lease of the dead one has expired; how long it took, in seconds. */
async function takeOver(host: Host): Promise<number> {
  const started = Date.now()
  let last = await host.open(key)
  assert.equal(last.code, 5, last.stderr)
  while (last.code === 5) {
    await sleep(500)
    last = await host.open(key)
  }
  assert.equal(last.code, 0, last.stderr)
  return (Date.now() - started) / 1000
}

test("a new tresord takes over under load and renews the lease as the same owner; when it has died, the other host takes over", async () => {
  await good(here.open(key))
  await good(here.io("write -P 0x55 0 1M", "flush"))
  const [before, { owner }, fenced] = [here.daemon, (await here.status()).lease, await cluster.ceph(...BLOCKLIST)]
  await using load = await Load.start(nbdSocket(here.place), 64 << 20, 4 << 20)
  await load.goesOn()
  let over = false
  const tried = (async () => {
    const codes: number[] = []
    while (!over) codes.push((await there.open(key)).code)
    return codes
  })()
  await good(here.tresor("upgrade", "work"))
  await until("the old tresord has left", () => !alive(before), 60_000)
  // Until all that it asked for has expired: from here on only the new one can have renewed it.
  await sleep(LEASE_SECONDS * 1000)
  await load.goesOn()
  const { lease } = await here.status()
  assert.deepEqual([lease.owner, lease.state], [owner, "held"])
  over = true
  const codes = await tried
  assert.ok(codes.length > 2 && codes.every((code) => code === 5), `${codes}`)
  assert.equal(await cluster.ceph(...BLOCKLIST), fenced)
  await load.end()

  await good(here.io("write -P 0x56 512k 512k", "flush"))
  await here.die()
  const seconds = await takeOver(there)
  process.stdout.write(`taken over after ${seconds} s\n`)
  assert.match(there.log, /fenced the last owner/)
  await good(
    there.io("read -P 0x55 0 512k", "read -P 0x56 512k 512k", "write -P 0x66 0 1M", "flush", "read -P 0x66 0 1M"),
  )
  await good(there.tresor("close", "work"))
  await here.serve()
})

test("a host that stood still all the time is fenced: its late writes are refused, and it serves no more", async () => {
  await good(here.open(key))
  await good(here.io("write -P 0x77 0 1M", "flush"))
  const [daemon, server] = [here.daemon, await here.server()]
  // The write is on its way to the storage, and gets no further.
  process.kill(server, "SIGSTOP")
  const late = here.io("write -P 0x88 0 1M", "flush")
  const renewed = async () => (await here.status()).server.state
  assert.equal(await renewed(), "connected")
  await sleep(1000)
  process.kill(daemon, "SIGSTOP")
  await takeOver(there)
  await good(there.io("read -P 0x77 0 1M", "write -P 0x99 0 512k", "flush"))
  process.kill(server, "SIGCONT")
  process.kill(daemon, "SIGCONT")
  assert.notEqual((await late).code, 0)
  await until("the lease is lost", async () => (await here.status()).lease.state === "lost", 60_000)
  assert.match((await here.status()).lease.reason!, /was lost to \S+ \(process \d+\); close the volume here/)
  assert.notEqual((await here.io("read 0 4k")).code, 0)
  await good(there.io("read -P 0x99 0 512k", "read -P 0x77 512k 512k"))
  // Nothing of it was unflushed but what was refused to its client.
  assert.equal((await here.tresor("close", "work", "--force")).code, 4)
  await good(there.tresor("close", "work"))
})
