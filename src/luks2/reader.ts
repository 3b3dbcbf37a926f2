/** One JSON object of a LUKS2 header, read member by member, with names for messages. Pure. */
import { AmbiguousJson } from "../base/json.ts"
import { type Extensible, members, unknownMembers } from "./json.ts"

/** Why an object is kept and not used. */
export interface Fault {
  /** One clause: "keyslots.0.kdf.salt is not base64". */
  readonly fact: string
  /** Whether something is broken; else it is of a kind that is unknown here. */
  readonly damaged: boolean
}

const U64 = 1n << 64n
/** More digits than any object's number has. */
const NUMBERS = 10_000
/** Bytes that are not UTF-8 (text.ts), or half a character: other programs may read either differently. */
const UNPAIRED = /\p{Surrogate}/u

/** What is wrong with a header, as one clause: "keyslots.0.area is missing". */
export class Odd extends Error {
  override readonly name = "Odd"
  readonly fault: Fault

  constructor(fact: string, { damaged = true } = {}) {
    super(fact)
    this.fault = { fact, damaged }
  }
}

const isNumber = (text: string, limit = NUMBERS): boolean => /^(0|[1-9][0-9]{0,3})$/.test(text) && Number(text) < limit

export class Reader {
  readonly #fields: ReadonlyMap<string, string>
  readonly #path: string

  constructor(text: string, path: string) {
    this.#path = path
    try {
      this.#fields = members(text)
    } catch (error) {
      const fault = error instanceof AmbiguousJson ? error.message : "is not a JSON object"
      throw new Odd(`${path || "the JSON area"} ${fault}`)
    }
    for (const name of this.#fields.keys()) {
      if (UNPAIRED.test(name)) throw new Odd(`${path || "the JSON area"} has a name that is not UTF-8`)
    }
  }

  fail(field: string, what: string): Odd {
    return new Odd(`${this.#path === "" ? field : `${this.#path}.${field}`} ${what}`)
  }

  /** A value whose meaning is unknown here, which another program or version may know. */
  unknownValue(field: string, value: string | number): Odd {
    return new Odd(`${this.#path}.${field} ${JSON.stringify(value)} is unknown`, { damaged: false })
  }

  has(field: string): boolean {
    return this.#fields.has(field)
  }

  unknown(...known: readonly string[]): Extensible {
    return unknownMembers(this.#fields, known)
  }

  #value(field: string): unknown {
    const text = this.#fields.get(field)
    if (text === undefined) throw this.fail(field, "is missing")
    return JSON.parse(text)
  }

  /** What `read` returns, or `null` for a member that is missing or of another kind. */
  optional<T>(field: string, read: (field: string) => T): T | null {
    try {
      return this.has(field) ? read(field) : null
    } catch (error) {
      if (error instanceof Odd) return null
      throw error
    }
  }

  /** Not empty: cryptsetup takes an empty string for a missing one. */
  string(field: string): string {
    const value = this.#value(field)
    if (typeof value !== "string") throw this.fail(field, "is not a string")
    if (value === "") throw this.fail(field, "is empty")
    if (UNPAIRED.test(value)) throw this.fail(field, "is not UTF-8")
    return value
  }

  /** JSON number without fraction, exponent or sign that json-c takes for an int. */
  integer(field: string, low: number, high = 0x7fff_ffff): number {
    const text = this.#fields.get(field)
    const value = this.#value(field)
    if (!/^-?[0-9]+$/.test(text!) || (value as number) < low || (value as number) > high) {
      throw this.fail(field, `is not a whole number from ${low} to ${high}`)
    }
    return value as number
  }

  /** Decimal text of 64 bits. */
  uint64(field: string): bigint {
    const text = this.string(field)
    if (!/^(0|[1-9][0-9]{0,19})$/.test(text) || BigInt(text) >= U64) {
      throw this.fail(field, "is not a 64-bit number in decimal digits")
    }
    return BigInt(text)
  }

  base64(field: string): Uint8Array {
    const text = this.string(field)
    try {
      // atob forgives spaces and missing padding; what it accepts must be what was written.
      const binary = atob(text)
      if (btoa(binary) === text) return Uint8Array.from(binary, (char) => char.charCodeAt(0))
    } catch {}
    throw this.fail(field, "is not base64")
  }

  strings(field: string): string[] {
    const value = this.#value(field)
    if (!Array.isArray(value) || !value.every((each) => typeof each === "string")) {
      throw this.fail(field, "is not an array of strings")
    }
    if (value.some((each) => UNPAIRED.test(each))) throw this.fail(field, "is not UTF-8")
    return value as string[]
  }

  /** Numbers of objects, written as strings. */
  references(field: string): number[] {
    return this.strings(field).map((text) => {
      if (!isNumber(text)) throw this.fail(field, `names "${text}", which is not the number of an object`)
      return Number(text)
    })
  }

  object(field: string): Reader {
    const text = this.#fields.get(field)
    if (text === undefined) throw this.fail(field, "is missing")
    return new Reader(text, this.#path === "" ? field : `${this.#path}.${field}`)
  }

  /** Objects under their numbers, in ascending order. */
  numbered<T>(field: string, parse: (reader: Reader, number: number) => T): Map<number, T> {
    const reader = this.object(field)
    const found: [number, T][] = []
    for (const name of reader.#fields.keys()) {
      if (!isNumber(name)) throw reader.fail(name, "is not the number of an object")
      found.push([Number(name), parse(reader.object(name), Number(name))])
    }
    return new Map(found.sort(([a], [b]) => a - b))
  }
}
