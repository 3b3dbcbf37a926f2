/** Linux's own SGX selftest, from Debian's linux-source-6.1, with ours in it; built once into the user's cache. */
import { createHash } from "node:crypto"
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { root, run } from "../vm/machine.ts"

const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "tresor", "sgx-selftest")
const ours = ["selftest.patch", "selftest.c"].map((name) => join(root, "sgx-machine", name))

/** Of the kernel's source; the rest of its 140 MB is not unpacked. */
const needed = [
  "tools/testing/selftests/sgx",
  "tools/testing/selftests/kselftest*",
  "tools/include",
  "arch/x86/include",
]

function unpack(place: string): string {
  run("apt-get", ["-q", "-o", "APT::Sandbox::User=root", "download", "linux-source-6.1"], { cwd: place })
  const [file = ""] = readdirSync(place)
  run("dpkg", ["-x", file, "."], { cwd: place })
  rmSync(join(place, file))
  const archive = join(place, "usr/src/linux-source-6.1.tar.xz")
  const patterns = needed.map((each) => `linux-source-6.1/${each}`)
  run("tar", ["-xJf", archive, "--wildcards", ...patterns], { cwd: place })
  return join(place, "linux-source-6.1")
}

function build(source: string, target: string): void {
  const cwd = join(source, "tools/testing/selftests/sgx")
  const [patch = "", tests = ""] = ours
  run("patch", ["-p1", "-i", patch], { cwd })
  copyFileSync(tests, join(cwd, "machine.c"))
  const include = `-I${join(source, "tools/include")}`
  const objects = ["main.c", "load.c", "sigstruct.c", "call.S", "sign_key.S"]
  // The kernel's own flags; the warnings are about our compiler, not about the tests.
  run("gcc", ["-w", "-g", include, "-fPIC", "-o", join(target, "test_sgx"), ...objects, "-lcrypto"], { cwd })
  const enclave = ["-static", "-nostdlib", "-nostartfiles", "-fPIC", "-fno-stack-protector", "-mrdrnd"]
  run(
    "gcc",
    ["-w", ...enclave, include, "-o", join(target, "test_encl.elf"), "-Wl,--build-id=none"].concat([
      "-T",
      "test_encl.lds",
      "test_encl.c",
      "test_encl_bootstrap.S",
    ]),
    { cwd },
  )
}

/** The folder of test_sgx and its enclave. */
export function kernelSelftest(): string {
  const offered = () => /Candidate: (\S+)/.exec(run("apt-cache", ["policy", "linux-source-6.1"]).toString())?.[1]
  // An image of a container often has no lists.
  if (offered() === undefined && process.getuid?.() === 0) run("apt-get", ["-q", "update"])
  const candidate = offered()
  if (candidate === undefined) throw new Error("apt knows no linux-source-6.1; as root: apt-get update")
  const hash = createHash("sha256").update(candidate)
  for (const file of ours) hash.update(readFileSync(file))
  const target = join(cache, hash.digest("hex").slice(0, 32))
  if (existsSync(target)) return target
  mkdirSync(cache, { recursive: true })
  // Complete or not there: another run may look at the same time.
  const place = mkdtempSync(join(cache, ".new-"))
  try {
    const finished = join(place, "finished")
    const download = join(place, "download")
    for (const each of [finished, download]) mkdirSync(each)
    build(unpack(download), finished)
    if (!existsSync(target)) renameSync(finished, target)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
  return target
}
