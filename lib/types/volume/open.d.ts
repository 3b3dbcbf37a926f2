import type { Segment } from "../luks2/types.ts";
import { type OpenStoreOptions } from "../store/open.ts";
import { Volume, type VolumeOptions } from "./volume.ts";
export type OpenVolumeOptions = OpenStoreOptions & Pick<VolumeOptions, "discards" | "lockGraceMs">;
/** Throws TresorError STORE_UNFIT, SEGMENT_OUTSIDE (exit 4), and as openStore. */
export declare function openVolumeOn(path: string, segment: Segment, options: OpenVolumeOptions): Promise<Volume>;
