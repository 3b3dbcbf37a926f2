/**
 * Little-endian C structs without padding, described once and read and written
 * by field name. A description lists its fields in memory order.
 */

type Integer = "u8" | "u16" | "u32" | "u64"
/** An integer, a byte array of that length, or a struct. */
export type FieldType = Integer | number | Struct<Fields>
// biome-ignore lint/suspicious/noExplicitAny: a struct's fields may be structs again
type Fields = Readonly<Record<string, any>>

export interface Struct<F extends Fields> {
  /** As in the C header. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  readonly fields: F
  readonly offsets: { readonly [K in keyof F]: number }
}

type FieldValue<T> = T extends "u64"
  ? bigint
  : T extends Integer
    ? number
    : T extends number
      ? Uint8Array
      : T extends Struct<infer F>
        ? Value<F>
        : never
type Value<F extends Fields> = { [K in keyof F]: FieldValue<F[K]> }

/** What `decode` gives. */
export type Decoded<S> = S extends Struct<infer F> ? Value<F> : never
type PartialValue<F extends Fields> = {
  readonly [K in keyof F]?: F[K] extends Struct<infer G> ? PartialValue<G> : FieldValue<F[K]>
}
/** What `encode` takes: absent fields are zero, byte arrays may be shorter. */
export type Encodable<S> = S extends Struct<infer F> ? PartialValue<F> : never

const WIDTH: Readonly<Record<Integer, number>> = { u8: 1, u16: 2, u32: 4, u64: 8 }

function sizeOf(type: FieldType): number {
  if (typeof type === "number") return type
  return typeof type === "string" ? WIDTH[type] : type.size
}

export function struct<const F extends Readonly<Record<string, FieldType>>>(name: string, fields: F): Struct<F> {
  const offsets: Record<string, number> = {}
  let size = 0
  for (const [field, type] of Object.entries(fields)) {
    offsets[field] = size
    size += sizeOf(type)
  }
  return { name, size, fields, offsets: offsets as Struct<F>["offsets"] }
}

/** Writes `value` over `into`, which has the struct's size; fields it does not name become zero. */
export function encode<F extends Fields>(type: Struct<F>, value: PartialValue<F>, into: Uint8Array): void {
  into.fill(0)
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength)
  for (const [field, fieldType] of Object.entries<FieldType>(type.fields)) {
    const given = (value as Record<string, unknown>)[field]
    if (given === undefined) continue
    const at = type.offsets[field]!
    if (typeof fieldType === "number") {
      const bytes = given as Uint8Array
      if (bytes.length > fieldType) throw new RangeError(`${type.name}.${field}: ${bytes.length} > ${fieldType} bytes`)
      into.set(bytes, at)
    } else if (typeof fieldType === "string") {
      encodeInteger(view, at, fieldType, given as number | bigint)
    } else {
      encode(fieldType, given as PartialValue<Fields>, into.subarray(at, at + fieldType.size))
    }
  }
}

function encodeInteger(view: DataView, at: number, type: Integer, value: number | bigint): void {
  if (type === "u64") {
    view.setBigUint64(at, value as bigint, true)
    return
  }
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= 256 ** WIDTH[type]) {
    throw new RangeError(`${value} is not a ${type}`)
  }
  if (type === "u32") view.setUint32(at, value as number, true)
  else if (type === "u16") view.setUint16(at, value as number, true)
  else view.setUint8(at, value as number)
}

/** Byte arrays are copies. */
export function decode<F extends Fields>(type: Struct<F>, from: Uint8Array): Value<F> {
  const view = new DataView(from.buffer, from.byteOffset, from.byteLength)
  const value: Record<string, unknown> = {}
  for (const [field, fieldType] of Object.entries<FieldType>(type.fields)) {
    const at = type.offsets[field]!
    if (typeof fieldType === "number") value[field] = from.slice(at, at + fieldType)
    else if (fieldType === "u64") value[field] = view.getBigUint64(at, true)
    else if (fieldType === "u32") value[field] = view.getUint32(at, true)
    else if (fieldType === "u16") value[field] = view.getUint16(at, true)
    else if (fieldType === "u8") value[field] = view.getUint8(at)
    else value[field] = decode(fieldType, from.subarray(at, at + fieldType.size))
  }
  return value as Value<F>
}
