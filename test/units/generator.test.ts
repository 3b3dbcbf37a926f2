/** tresor-generator: /etc/tresortab to units, as systemd reads them. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { before, test } from "node:test"
import { openAll } from "../../src/cli/open-all.ts"
import { Place, root } from "../cli/harness.ts"

const place = new Place()
const usr = place.path("usr")
const units = join(usr, "lib/systemd/system")
const generator = join(usr, "lib/systemd/system-generators/tresor-generator")

before(() => {
  mkdirSync(units, { recursive: true })
  const made = spawnSync("make", ["-s", "-C", join(root, "generator"), `OUT=${dirname(generator)}`, `PREFIX=${usr}`])
  assert.equal(made.status, 0, String(made.stderr))
  for (const name of readdirSync(join(root, "units")).filter((each) => /\.(service|target)$/.test(each)))
    writeFileSync(join(units, name), readFileSync(join(root, "units", name), "utf8").replaceAll("/usr/", `${usr}/`))
  for (const program of ["bin/tresor", "sbin/tresord"]) {
    mkdirSync(dirname(join(usr, program)), { recursive: true })
    writeFileSync(join(usr, program), "#!/bin/sh\n")
    chmodSync(join(usr, program), 0o755)
  }
})

interface Generated {
  readonly code: number
  readonly stderr: string
  /** Path below the folder of units -> text, or "-> target" of a link. */
  readonly files: ReadonlyMap<string, string>
  readonly folder: string
}

let runs = 0

function generate(table: string | null): Generated {
  const folder = place.path(`generated-${runs++}`)
  mkdirSync(folder)
  const file = place.path("tresortab")
  rmSync(file, { force: true })
  if (table !== null) writeFileSync(file, table)
  const env = { TRESOR_TABLE: file }
  const done = spawnSync(generator, [folder, folder, folder], { env, encoding: "utf8" })
  const files = new Map<string, string>()
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isSymbolicLink()) files.set(path.slice(folder.length + 1), `-> ${readlinkSync(path)}`)
    else if (entry.isFile()) files.set(path.slice(folder.length + 1), readFileSync(path, "utf8"))
  }
  return { code: done.status ?? 128, stderr: done.stderr, files, folder }
}

const links = ({ files }: Generated) =>
  [...files]
    .filter(([, text]) => text.startsWith("-> "))
    .map(([path, text]) => `${path} -> ${basename(text)}`)
    .sort()

const SERVER = "tresor@data.service.d/tresortab.conf"
const UNLOCK = "tresor-unlock@data.service.d/tresortab.conf"

test("without a tresortab nothing is made", () => {
  const { code, files } = generate(null)
  assert.deepEqual([code, files.size], [0, 0])
})

test("a device by UUID: served by ublk, unlocked by an agent before tresor.target and the mounts on it", () => {
  const made = generate("# a comment\n\ndata UUID=1234-ab none\n")
  assert.deepEqual([made.code, made.stderr], [0, ""])
  const server = made.files.get(SERVER)!
  assert.match(
    server,
    /^BindsTo=dev-disk-by\\x2duuid-1234\\x2dab\.device\nAfter=dev-disk-by\\x2duuid-1234\\x2dab\.device$/m,
  )
  assert.match(server, /^ExecStart=\nExecStart=\S+\/sbin\/tresord --block -- "\/dev\/disk\/by-uuid\/1234-ab" "data"$/m)
  // The unit may load no module.
  assert.match(server, /^After=modprobe@ublk_drv\.service modprobe@dm_mod\.service$/m)
  const unlock = made.files.get(UNLOCK)!
  assert.match(
    unlock,
    /^Wants=blockdev@dev-tresor-data\.target\nBefore=blockdev@dev-tresor-data\.target\nBefore=tresor\.target$/m,
  )
  assert.match(unlock, /^ExecStart=\S+\/bin\/tresor setkey --password-agent -- "data"$/m)
  assert.match(made.files.get("dev-tresor-data.device.d/tresortab.conf")!, /^JobTimeoutSec=infinity$/m)
  assert.deepEqual(links(made), [
    "dev-tresor-data.device.requires/tresor-unlock@data.service -> tresor-unlock@.service",
    "sysinit.target.wants/tresor.target -> tresor.target",
    "tresor.target.requires/tresor-unlock@data.service -> tresor-unlock@.service",
  ])
})

test("a file is written through the unit's read-only view, its file system mounted before; words are quoted", () => {
  const made = generate(`data /srv/a%b"c'.img /etc/keys/$x header=/boot/h.img,readonly=,tries=1\n`)
  assert.equal(made.code, 1)
  const good = generate(`data /srv/a%b"c'.img /etc/keys/$x header=/boot/h.img,keyfile-size=32,discard,direct,grace=9\n`)
  assert.equal(good.stderr, "")
  const server = good.files.get(SERVER)!
  assert.match(server, /^RequiresMountsFor="\/srv\/a%%b\\"c'\.img"\nRequiresMountsFor="\/boot\/h\.img"$/m)
  assert.match(
    server,
    /tresord --block --allow-discards --direct --header "\/boot\/h\.img" --grace "9" -- "\/srv\/a%%b\\"c'\.img" "data"$/m,
  )
  assert.match(server, /^ReadWritePaths="\/srv\/a%%b\\"c'\.img"\nReadWritePaths="\/boot\/h\.img"$/m)
  assert.match(good.files.get(UNLOCK)!, /setkey --key-file "\/etc\/keys\/\$\$x" --keyfile-size "32" -- "data"$/m)
  // What asks again after a lock has the same words, in the place of its template's.
  assert.equal(
    good.files.get("tresor-ask@data.service.d/tresortab.conf")!.split("\n").slice(3).join("\n"),
    `[Service]\nExecStart=\n${/^ExecStart=.*\n/m.exec(good.files.get(UNLOCK)!)![0]}`,
  )
  assert.doesNotMatch(generate("data /srv/x.img - readonly\n").files.get(SERVER)!, /ReadWritePaths/)
})

test("tpm2: the TPM is waited for, and a machine secret in a file is refused", () => {
  const { files, stderr } = generate("data /dev/sda1 - tpm2\n")
  assert.equal(stderr, "")
  const secret = "/var/lib/tresor/machine-secret"
  const wanted = `Requires=dev-tpmrm0.device\nAfter=dev-tpmrm0.device\nAssertPathExists=${secret}.tpm2\nAssertPathExists=!${secret}\n`
  assert.ok(files.get(SERVER)!.includes(wanted), files.get(SERVER))
  assert.doesNotMatch(generate("data /dev/sda1 - nofail\n").files.get(SERVER)!, /tpm|Assert/)
})

for (const [options, wanted] of [
  ["nofail", ["sysinit.target.wants/tresor.target", "tresor.target.wants/tresor-unlock@data.service"]],
  ["noauto", []],
  ["locked", ["sysinit.target.wants/tresor.target", "tresor.target.requires/tresor@data.service"]],
  ["_netdev", ["remote-fs.target.requires/tresor-unlock@data.service"]],
  ["_netdev,nofail", ["remote-fs.target.wants/tresor-unlock@data.service"]],
] as const)
  test(`${options}: started as systemd starts such lines of crypttab, and by what mounts it`, () => {
    const made = generate(`data /dev/sda1 - ${options}\n`)
    const paths = links(made).map((link) => link.split(" -> ")[0]!)
    const [device, ...others] = paths
    assert.match(device!, /^dev-tresor-data\.device\.requires\/tresor(-unlock)?@data\.service$/)
    assert.deepEqual(others, wanted)
    // The question waits for the network, and neither it nor sshd for an answer.
    const online = /^Wants=network-online\.target\nAfter=remote-fs-pre\.target network-online\.target$/m
    assert.equal(online.test(made.files.get(SERVER)!), options.includes("_netdev"))
    assert.equal(/^Before=(tresor|remote-fs)\.target$/m.test(made.files.get(UNLOCK)!), !/nofail|noauto/.test(options))
  })

test("nbd has no block device to wait for; kernel has /dev/mapper's", () => {
  const nbd = generate("data /dev/sda1 - nbd\n")
  assert.match(nbd.files.get(SERVER)!, /tresord -- "\/dev\/sda1" "data"$/m)
  assert.doesNotMatch(nbd.files.get(UNLOCK)!, /blockdev/)
  const kernel = generate("my-data /dev/sda1 - kernel\n")
  assert.match(
    kernel.files.get("tresor-unlock@my-data.service.d/tresortab.conf")!,
    /blockdev@dev-mapper-my\\x2ddata\.target/,
  )
})

for (const [line, reason] of [
  ["data", /a line is NAME DEVICE/],
  ["data /dev/a - - x", /at most four fields/],
  ["../x /dev/a", /\.\.\/x is no name/],
  ["-x /dev/a", /is no name/],
  ["data dev/a", /neither an absolute path/],
  ["data /dev/a key", /the key file key is no absolute path/],
  ["data /dev/a - tires=3", /unknown option tires=3; the volume is left out/],
  ["data /dev/a - tries=x", /tries=x has no number/],
  ["data /dev/a - header=", /header= has no value/],
  ["data /dev/a - header=h", /the header h is no absolute path/],
  [`${"x".repeat(128)} /dev/a`, /is no name/],
] as const)
  test(`a line with a mistake makes no unit and is named, the others do: ${line.slice(0, 30)}`, () => {
    const made = generate(`${line}\ngood /dev/b\n`)
    assert.equal(made.code, 1)
    assert.match(made.stderr, /tresortab:1: /)
    assert.match(made.stderr, reason)
    assert.deepEqual(
      [...made.files.keys()].filter((path) => path.startsWith("tresor@")),
      ["tresor@good.service.d/tresortab.conf"],
    )
  })

/** What systemd says of a boot with the generated units and a file system on the volume; nothing: it has no complaint. */
function verify(made: Generated, fstab: string): string {
  writeFileSync(place.path("fstab"), fstab)
  const system = ["/usr/lib/systemd/system-generators", "/lib/systemd/system-generators"]
  const command = `PATH=${system.join(":")} exec systemd-fstab-generator ${made.folder} ${made.folder} ${made.folder}`
  const env = { ...process.env, SYSTEMD_FSTAB: place.path("fstab") }
  assert.equal(spawnSync("sh", ["-c", command], { env }).status, 0)
  const path = `${made.folder}:${units}:/lib/systemd/system:/usr/lib/systemd/system`
  const done = spawnSync("systemd-analyze", ["verify", "--man=no", "sysinit.target", "tresor-unlock@data.service"], {
    env: { ...process.env, SYSTEMD_UNIT_PATH: path },
    encoding: "utf8",
  })
  return done.stderr
}

test("systemd takes the units, and finds no cycle with a file system of fstab on the volume", () => {
  const fstab = "/dev/tresor/data /mnt ext4 defaults 0 2\n"
  const ours = (text: string) => text.split("\n").filter((line) => /tresor|cycle/.test(line))
  for (const line of ["data /dev/sda1 - ", "data /srv/disk.img - tries=5", "data UUID=1 /etc/key nofail"])
    assert.deepEqual(ours(verify(generate(`${line}\n`), fstab)), [], line)
  // The unit as it was.
  const made = generate("data /dev/sda1\n")
  const file = join(made.folder, SERVER)
  writeFileSync(file, readFileSync(file, "utf8").replace("[Unit]", "[Unit]\nAfter=local-fs.target"))
  assert.match(verify(made, fstab), /ordering cycle/)
})

test("open --all starts the units of what a boot opens, in one command, and names them when that fails", async () => {
  const { folder } = generate(
    "data /data.img none\nkey /key.img /k nofail\nlater /later.img none noauto\nfar nbd://host/x none\nlast /last.img none locked\n",
  )
  const called = place.path("called")
  const stub = (name: string, status: number, states = "") => {
    const answer = `if [ $1 = is-active ]; then printf '${states}'; else echo "$@" >${called}; fi`
    const path = place.file(name, `#!/bin/sh\n${answer}\nexit ${status}\n`)
    chmodSync(path, 0o755)
    return path
  }
  await openAll(folder, stub("systemctl", 0))
  const expected = ["tresor-unlock@data", "tresor-unlock@far", "tresor-unlock@key", "tresor@last"]
  const named = expected.map((unit) => `${unit}.service`).join(" ")
  assert.equal(readFileSync(called, "utf8"), `start -- ${named}\n`)
  await assert.rejects(openAll(folder, stub("failing", 5)), {
    code: "OPEN_ALL",
    exitCode: 4,
    message: `Cannot open data, far, key, last of /etc/tresortab: systemctl exited with 5; \`systemctl status ${named}\` says why`,
  })
  await assert.rejects(openAll(folder, stub("partly", 1, "active\\nactive\\ninactive\\nactive\\n")), {
    message:
      "Cannot open key of /etc/tresortab: systemctl exited with 1; `systemctl status tresor-unlock@key.service` says why",
  })
  await assert.rejects(openAll(folder, place.path("none")), { code: "OPEN_ALL", message: /exited with 127/ })
  await assert.rejects(openAll(place.path("nothing")), { code: "NO_SYSTEMD", exitCode: 4 })
  rmSync(called)
  await openAll(generate(null).folder, stub("systemctl", 0))
  assert.equal(existsSync(called), false, "no volumes, nothing to start")
})

test("open wants a path or --all", async () => {
  for (const [words, fact] of [
    [["open"], /no file or device is named/],
    [["open", "disk.img", "--all"], /a path and --all exclude each other/],
  ] as const) {
    const { code, stderr } = await place.tresor(words)
    assert.equal(code, 1)
    assert.match(stderr, fact)
  }
})
