/**
 * No code from strings: whatever eval or a function constructor would compile was
 * data before. V8 has a flag for this, but Node's stored code of its own modules was
 * made without it and is thrown away then: 14 ms at every start.
 */

/** A function of each kind that ECMA-262 has a constructor for (20.2.1, 27.3.1, 27.4.1, 27.7.1). */
const KINDS = [() => {}, function* () {}, async function* () {}, async () => {}]

/** For the rest of the process, in this realm. Then they throw EvalError. */
export function forbidEval(): void {
  for (const kind of KINDS) {
    const prototype = Object.getPrototypeOf(kind) as { constructor: { name: string } }
    const value = refusing(prototype.constructor.name, prototype)
    Object.defineProperty(prototype, "constructor", { value, configurable: false, writable: false })
    if (prototype === Function.prototype) Object.defineProperty(globalThis, "Function", { value })
  }
  Object.defineProperty(globalThis, "eval", { value: refusing("eval", null) })
}

/** Stands where a constructor stood: with its name and prototype, `instanceof` and inspection stay as they were. */
function refusing(name: string, prototype: object | null): () => never {
  // Not an arrow: `new` has to reach it.
  function refuse(): never {
    throw new EvalError("Code generation from strings is not allowed")
  }
  return Object.defineProperties(refuse, { name: { value: name }, prototype: { value: prototype } })
}
