/** Where open volumes are entered and found. */
import type { DoctorCheck } from "./check.ts"
import type { Machine } from "./machine.ts"

export function runtimeCheck({ runtime }: Machine): DoctorCheck {
  const fault = runtime instanceof Error
  return {
    id: "runtime-directory",
    name: "runtime directory",
    state: fault ? "no" : "yes",
    found: fault ? runtime.message : runtime,
    means: fault ? "this user can open no volume, and finds none that is open" : "open volumes are entered there",
    remedy: fault ? "see the message" : null,
  }
}
