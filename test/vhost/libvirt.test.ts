/** README's XML for libvirt is what libvirt's schema of domains allows. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { Place, root, run } from "../cli/harness.ts"

const place = new Place()
const readme = readFileSync(join(root, "README.md"), "utf8")
const blocks = [...readme.matchAll(/^```xml\n(.*?)^```$/gms)].map(([, text]) => text!)

/** A domain with what README shows: what is no device beside the devices. */
async function validate(block: string): Promise<{ readonly code: number; readonly stderr: string }> {
  const at = block.indexOf("<disk ")
  const domain = `<domain type='kvm'><name>machine</name><memory unit='GiB'>4</memory><os><type arch='x86_64'>hvm</type></os>${block.slice(0, at)}<devices>${block.slice(at)}</devices></domain>`
  const file = place.file("domain.xml", domain)
  return run("xmllint", ["--noout", "--relaxng", "/usr/share/libvirt/schemas/domain.rng", file])
}

test("README's disks for libvirt are valid by its schema, and a mistake in them is not", async () => {
  assert.equal(blocks.length, 2)
  for (const block of blocks) {
    const { code, stderr } = await validate(block)
    assert.equal(code, 0, stderr)
    assert.notEqual((await validate(block.replace("<source ", "<sauce "))).code, 0)
    assert.ok(block.includes("/run/tresor-sockets/work.sock"))
  }
})
