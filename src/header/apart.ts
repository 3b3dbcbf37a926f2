/** That a header and the data it describes are not one place. */
import { Exit, TresorError } from "../base/errors.ts"
import type { Segment } from "../luks2/types.ts"
import { overlap } from "../store/extent.ts"

/**
 * A detached header that is taken for the volume, or one that lies in what it
 * describes: the first write would destroy it. Throws HEADER_IN_DATA (exit 4).
 */
export function checkApart(
  { path, header }: { readonly path: string; readonly header: string | null },
  { offset, size }: Pick<Segment, "offset" | "size">,
  headerSize: bigint,
): void {
  const place = { path: header ?? path, offset: 0n, size: headerSize }
  if (!overlap(place, { path, offset, size })) return
  throw new TresorError(
    "HEADER_IN_DATA",
    Exit.wrongDevice,
    header === null
      ? `Cannot open ${path}: it is a detached header, without data; name the data device, and this file with --header`
      : `Cannot open ${path}: the header in ${header} overlaps with the data area, which begins at offset ${offset} of the same device`,
  )
}
