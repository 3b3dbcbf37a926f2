/** The module's package where DKMS and the kernel's headers are: built at the install, at an upgrade, and gone after it. */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { Place } from "../cli/harness.ts"
import { builtPackages } from "./packages.ts"
import { Root } from "./root.ts"

const place = new Place()
let debian: Root
let deb = ""
let later = ""
let version = ""
/** The one whose headers are in the root. */
let kernel = ""
const LATER = "9.0.0"

function must(script: string): string {
  const { code, output } = debian.run(script)
  assert.equal(code, 0, `${script}\n${output}`)
  return output
}
const apt = (words: string) => `exec 2>&1; apt-get -y -q --no-install-recommends -o Dpkg::Use-Pty=0 ${words}`

/** The same source with a higher version, as scripts/release.mjs would write it. */
function laterVersion(original: string): string {
  const folder = place.path("later")
  execFileSync("dpkg-deb", ["-R", original, folder])
  const sources = join(folder, "usr/src")
  renameSync(join(sources, `tresor-${version}`), join(sources, `tresor-${LATER}`))
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile() || path.endsWith(".gz")) continue
    const text = readFileSync(path, "utf8")
    if (text.includes(version)) writeFileSync(path, text.replaceAll(version, LATER), { mode: statSync(path).mode })
  }
  execFileSync("sh", ["-c", "find usr -type f -exec md5sum {} + >DEBIAN/md5sums"], { cwd: folder })
  const file = place.path(`tresor-dkms_${LATER}_all.deb`)
  execFileSync("dpkg-deb", ["--root-owner-group", "-b", folder, file])
  return file
}

before(() => {
  const { dkms } = builtPackages()
  version = execFileSync("dpkg-deb", ["-f", dkms, "Version"], { encoding: "utf8" }).trim()
  debian = new Root("bookworm", ["dkms", "linux-headers-amd64", "kmod"])
  deb = debian.take(dkms)
  later = debian.take(laterVersion(dkms))
  kernel = must("ls /lib/modules").trim()
})
after(() => debian?.remove())

/** What DKMS says of each kernel, and of the module that modprobe would load there. */
function state(): { readonly status: string; readonly modules: string } {
  const each = "modinfo -k $kernel -F version tresor && modinfo -k $kernel -F vermagic tresor"
  const script = `for kernel in $(ls /lib/modules); do ${each}; done 2>/dev/null | cut -d ' ' -f 1; true`
  return { status: must("dkms status").trim(), modules: must(script).trim() }
}

const built = (of: string) => ({ status: `tresor/${of}, ${kernel}, x86_64: installed`, modules: `${of}\n${kernel}` })
const NOTHING = { status: "", modules: "" }

test("the module is built at the install, for the kernel whose headers are there", () => {
  must(apt(`install ${deb}`))
  assert.deepEqual(state(), built(version))
})

test("an upgrade builds the new version in the old one's place", () => {
  must(apt(`install ${later}`))
  assert.deepEqual(state(), built(LATER))
})

test("a removal leaves neither a module nor a source, for any kernel", () => {
  must(apt("purge tresor-dkms"))
  assert.deepEqual(state(), NOTHING)
  assert.equal(must("find / -xdev -path /debs -prune -o -path /proc -prune -o -name '*tresor*' -print"), "")
})

test("without headers the package is installed, and DKMS has the source for a kernel to come", () => {
  must("mkdir /aside; mv /lib/modules/* /usr/src/linux-headers* /aside")
  must(apt(`install ${deb}`))
  assert.deepEqual(state(), { status: `tresor/${version}: added`, modules: "" })
  must(apt("purge tresor-dkms"))
  assert.deepEqual(state(), NOTHING)
})
