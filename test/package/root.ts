/** A Debian root of the cache, unpacked: what a package does to a system, without touching this one. */
import { execFileSync, spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { makeRoot } from "../../scripts/roots.mjs"

const TERMINAL = join(import.meta.dirname, "../cli/terminal.py")

export interface Ran {
  readonly code: number
  /** Standard output and error as they came. */
  readonly output: string
}

/** Mounts of the root's own, gone with its processes. */
const INSIDE = `set -e
mount -t proc proc "$1/proc"; mount -t sysfs -o ro sys "$1/sys"; mount -t tmpfs run "$1/run"
mount --rbind /dev "$1/dev"
exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb \\
  DEBIAN_FRONTEND=noninteractive /bin/sh -c "$2"`

export class Root {
  readonly folder: string

  constructor(suite: string, packages: readonly string[] = []) {
    const tar = makeRoot(suite, packages)
    this.folder = mkdtempSync(join(tmpdir(), "tresor-root-"))
    execFileSync("tar", ["--numeric-owner", "-xpf", tar, "-C", this.folder])
    // No package starts a service in here.
    writeFileSync(join(this.folder, "usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", { mode: 0o755 })
    mkdirSync(join(this.folder, "debs"))
  }

  /** Path inside. */
  take(file: string): string {
    const path = join("/debs", basename(file))
    copyFileSync(file, join(this.folder, path))
    return path
  }

  /** A script for sh, in namespaces of its own: when it ends, so does everything it started. */
  run(script: string): Ran {
    return this.#run([], script)
  }

  /** The same on a terminal: [text to wait for, text to type]. */
  type(script: string, answers: readonly (readonly [string, string])[]): Ran {
    return this.#run(["python3", TERMINAL, JSON.stringify(answers)], script)
  }

  #run(before: readonly string[], script: string): Ran {
    const inside = ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "root", this.folder, script]
    const [command, ...words] = [...before, "unshare", ...inside]
    const { status, stdout, error } = spawnSync(command!, words, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 300_000,
    })
    if (error !== undefined) throw error
    return { code: status ?? 128, output: stdout }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
