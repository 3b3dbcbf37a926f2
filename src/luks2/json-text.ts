/** Values as the JSON text cryptsetup writes. Pure. */
import { type Extensible, extra, object } from "./json.ts"

/** `null` texts are left out. */
export type Fields = readonly (readonly [string, string | null])[]

export const text = (value: string | number | readonly string[]): string => JSON.stringify(value)
export const uint64 = (value: bigint): string => `"${value}"`
export const numbers = (values: readonly number[]): string => text(values.map(String))

export function base64(bytes: Uint8Array): string {
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return text(btoa(binary))
}

/** A member of ours stands for one of the same name that was kept. */
export function whole(fields: Fields, source: Extensible): string {
  const set = new Set(fields.filter(([, value]) => value !== null).map(([name]) => name))
  return object([...fields, ...[...(source[extra] ?? [])].filter(([name]) => !set.has(name))])
}

export function numbered<T>(items: ReadonlyMap<number, T>, emit: (item: T) => string): string {
  return object([...items].sort(([a], [b]) => a - b).map(([number, item]) => [String(number), emit(item)] as const))
}
