import assert from "node:assert/strict"
import { test } from "node:test"
import { constantsIn, readHeader } from "../testing/c-header.ts"
import { Mode } from "./enclave.ts"
import * as kmod from "./kmod.ts"

const constants = constantsIn(readHeader("abi/kmod.h"))

test("every number is abi/kmod.h's", () => {
  const numbers: Readonly<Record<string, number>> = {
    TRESOR_HANDLE_SIZE: kmod.HANDLE_SIZE,
    TRESOR_CHECK_SIZE: kmod.CHECK_SIZE,
    TRESOR_EVENT_SETKEY: kmod.EventType.setkey,
    TRESOR_EVENT_FORGET: kmod.EventType.forget,
    TRESOR_EVENT_AGAIN: kmod.EVENT_AGAIN,
    TRESOR_ANSWER_HELD: kmod.ANSWER_HELD,
  }
  for (const [name, value] of Object.entries(numbers)) assert.equal(value, constants.get(name), name)
})

test("the kernel's modes are the enclave's, all of them", () => {
  const theirs = [...constants].filter(([name]) => name.startsWith("TRESOR_KMODE_"))
  const ours = Object.entries(Mode).map(([name, number]) => [
    `TRESOR_KMODE_${name.toUpperCase().replaceAll("-", "_")}`,
    number,
  ])
  assert.deepEqual(ours, theirs)
})
