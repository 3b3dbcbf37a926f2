/** A QR code for a terminal, from bytes: a secret is never a string here. */
import { encode } from "uqr"

/** Modules that stay light around the code: ISO/IEC 18004, 9.1. */
const QUIET = 4

/** Two rows of modules a line, light modules drawn: on a dark terminal the code is as on paper. */
export function qrCode(bytes: Uint8Array): string {
  const numbers = Array.from(bytes)
  try {
    // Blocks of the terminal's own colour are read as dark; inverse video would hold on light ones too, and be less plain.
    const { data } = encode(numbers, { ecc: "M", border: QUIET })
    const light = (row: number, column: number) => data[row]?.[column] === false
    let text = ""
    for (let row = 0; row < data.length; row += 2) {
      for (let column = 0; column < data.length; column++) {
        const [upper, lower] = [light(row, column), light(row + 1, column)]
        text += upper ? (lower ? "█" : "▀") : lower ? "▄" : " "
      }
      text += "\n"
    }
    return text
  } finally {
    numbers.fill(0)
  }
}
