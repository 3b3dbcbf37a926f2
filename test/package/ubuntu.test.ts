/** The package in a bare Ubuntu 24.04. Where its archive cannot be reached, `npm test` leaves this out and says so. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { UBUNTU } from "../../scripts/roots.mjs"
import { builtPackages } from "./packages.ts"
import { Root } from "./root.ts"

test("apt installs it in a bare Ubuntu 24.04: the selftest and the demo pass, a volume is made, opened and closed", () => {
  const ubuntu = new Root(UBUNTU)
  try {
    const deb = ubuntu.take(builtPackages().tresor)
    const { code, output } = ubuntu.run(`set -e; exec 2>&1; . /etc/os-release; echo "$ID $VERSION_ID"
      apt-get -y -q --no-install-recommends -o Dpkg::Use-Pty=0 install ${deb}
      tresor selftest | tail -1; tresor demo
      printf 'correct horse' > /srv/key
      tresor create /srv/disk.img --size 64M --key-file /srv/key --no-recovery --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --batch-mode
      tresor open /srv/disk.img work --key-file /srv/key; tresor status work --json; tresor close work`)
    assert.equal(code, 0, output)
    assert.match(output, /^ubuntu 24\.04$/m)
    assert.match(output, /^\d+ passed, 0 failed/m)
    assert.match(output, /"state":"unlocked"/)
  } finally {
    ubuntu.remove()
  }
})
