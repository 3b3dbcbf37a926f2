import fc from "fast-check"

/** As fc.string({ unit: "binary" }), which takes a second to list every code point before its first string. */
export function anyText(constraints: { readonly maxLength?: number } = {}): fc.Arbitrary<string> {
  const codePoint = fc.oneof(
    fc.integer({ min: 0, max: 0x7f }),
    fc.integer({ min: 0, max: 0xd7ff }),
    fc.integer({ min: 0xe000, max: 0x10ffff }),
  )
  return fc.array(codePoint, constraints).map((points) => String.fromCodePoint(...points))
}
