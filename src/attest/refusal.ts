/** Evidence that does not hold. `message` is the fact found; the verifier adds which check found it. */
export class Refusal extends Error {
  override readonly name = "Refusal"
}
