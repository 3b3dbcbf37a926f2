/** The package in a bare Debian: installed, used, upgraded to another enclave image, removed, purged. */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { after, before, test } from "node:test"
import { changeImage } from "../cli/another-version.ts"
import { Place, root } from "../cli/harness.ts"
import { builtPackages } from "./packages.ts"
import { type Ran, Root } from "./root.ts"

const place = new Place()
let debian: Root
let deb = ""
/** The same program with a higher version and another image. */
let later = ""
let laterMrenclave = ""

/** Everything but what apt, dpkg and debconf note of themselves. */
const LIST =
  "find / -xdev \\( -path /proc -o -path /debs -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log -o -path /tmp \\) -prune -o -print | sort"
const apt = (words: string) => `exec 2>&1; apt-get -y -q --no-install-recommends -o Dpkg::Use-Pty=0 ${words}`

function must(script: string): string {
  const { code, output } = debian.run(script)
  assert.equal(code, 0, `${script}\n${output}`)
  return output
}

async function laterVersion(original: string): Promise<string> {
  const folder = place.path("later")
  execFileSync("dpkg-deb", ["-R", original, folder])
  laterMrenclave = await changeImage(join(folder, "usr/lib/tresor"))
  const control = join(folder, "DEBIAN/control")
  writeFileSync(control, readFileSync(control, "utf8").replace(/^Version: .*$/m, "Version: 9.0.0"))
  const file = place.path("tresor_9.0.0_amd64.deb")
  execFileSync("dpkg-deb", ["--root-owner-group", "-Zzstd", "-z1", "-b", folder, file])
  return file
}

before(async () => {
  const { tresor } = builtPackages()
  debian = new Root("bookworm")
  deb = debian.take(tresor)
  later = debian.take(await laterVersion(tresor))
})
after(() => debian.remove())

const KDF = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000"
const CREATE = `tresor create /srv/disk.img --size 64M --key-file /srv/key --no-recovery --seal-policy mrenclave ${KDF} --batch-mode`
const OPEN = "tresor open /srv/disk.img work --key-file /srv/key"
let bare = ""

test("apt installs it in a bare Debian 12; the first volume is made and opened; the selftest passes", () => {
  bare = must(LIST)
  must(apt(`install ${deb}`))
  assert.match(must("tresor --version"), /^\d+\.\d+\.\d+\ncommit [0-9a-f]{40}(-dirty)?\nMRENCLAVE [0-9a-f]{64}\n$/)
  assert.match(must("tresor selftest | tail -1"), /^\d+ passed, 0 failed/)
  must("printf 'correct horse' > /srv/key")
  must(`exec 2>&1; ${CREATE} && ${OPEN} && tresor status work && tresor close work`)
  assert.match(must("stat -c '%a %U' /var/lib/tresor /var/lib/tresor/machine-secret"), /^700 root\n600 root\n$/)
})

test("the package is not removed while a volume is open", () => {
  const refused = debian.run(`${OPEN} && ${apt("remove tresor")}`)
  assert.notEqual(refused.code, 0)
  assert.match(refused.output, /Cannot remove the package: volumes are open; close them first/)
  assert.match(refused.output, /tresord: work \/srv\/disk\.img/)
  must("tresor --version")
})

test("an upgrade leaves an open volume open, and keeps the image that its keyslots are sealed to", () => {
  // As if the image could not be kept when it was used.
  must("rm -r /var/lib/tresor/enclaves")
  const before = /MRENCLAVE (\w+)/.exec(must("tresor --version"))![1]!
  const done = must(`set -e; ${OPEN}; ${apt(`install ${later}`)}; tresor status work --json; tresor close work`)
  assert.match(done, /"state":"unlocked"/)
  assert.match(must("tresor --version"), new RegExp(`MRENCLAVE ${laterMrenclave}`))
  assert.equal(must("ls /var/lib/tresor/enclaves"), `${before}\n`)
  const moved = must(`exec 2>&1; ${OPEN} --succeed ${laterMrenclave} && tresor close work`)
  assert.match(moved, /keyslot 0 of work is sealed to the enclave of this version from now on/)
  must(`${OPEN} && tresor close work`)
})

/** What is there now and was not before the package; not what each user's commands noted for that user. */
function left(): readonly string[] {
  const known = new Set(bare.split("\n"))
  return must(LIST)
    .split("\n")
    .filter((path) => path !== "" && !known.has(path) && !path.startsWith("/root/.config"))
}

test("a purge leaves volumes and the machine secret, and says so; installed again, it opens them", () => {
  const output = must(apt("purge tresor"))
  assert.match(output, /\/var\/lib\/tresor is kept: root's Tresor passphrases depend on it/)
  assert.deepEqual(
    left().filter((path) => !path.startsWith("/var/lib/tresor/enclaves")),
    ["/srv/disk.img", "/srv/key", "/var/lib/tresor", "/var/lib/tresor/machine-secret"],
  )
  must(apt(`install ${later}`))
  must(`${OPEN} && tresor close work`)
})

/** A purge by a person at a terminal. */
const purge = (answer: string): Ran =>
  debian.type("DEBIAN_FRONTEND=teletype apt-get -y -q -o Dpkg::Use-Pty=0 purge tresor", [["[yes/no]", `${answer}\n`]])

test("a purge asks for the machine secret and explains it: no keeps it, yes leaves nothing but the volume", () => {
  const kept = purge("no")
  assert.match(kept.output, /no Tresor passphrase opens these volumes any more/)
  assert.equal(kept.code, 0, kept.output)
  must("test -e /var/lib/tresor/machine-secret")
  must(apt(`install ${later}`))
  const gone = purge("yes")
  assert.equal(gone.code, 0, gone.output)
  assert.deepEqual(left(), ["/srv/disk.img", "/srv/key"])
})

test("the same package in a bare Debian 13: installed, a volume made, opened and closed", () => {
  const trixie = new Root("trixie")
  try {
    const path = trixie.take(join(root, "build", basename(deb)))
    const use = `printf 'correct horse' > /srv/key; ${CREATE} && ${OPEN} && tresor status work --json && tresor close work`
    const { code, output } = trixie.run(`${apt(`install ${path}`)} && tresor selftest | tail -1 && ${use}`)
    assert.equal(code, 0, output)
    assert.match(output, /^\d+ passed, 0 failed/m)
    assert.match(output, /"state":"unlocked"/)
  } finally {
    trixie.remove()
  }
})
