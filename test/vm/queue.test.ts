/** kernel/queue.c in user space (bench/ring-model), under ThreadSanitizer: the watchdog beside the traffic. */
import { join } from "node:path"
import { test } from "node:test"
import { root, run } from "./machine.ts"

test("the watchdog's look at a queue races with nothing and sees no healthy daemon hung", () => {
  run("make", ["-s", "-C", join(root, "bench", "ring-model"), "race"])
})
