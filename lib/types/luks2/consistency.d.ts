/** Checks a header's objects against each other and against its size. Pure; throws Odd. */
import { type Metadata } from "./metadata.ts";
/** Throws Odd. */
export declare function checkMetadata(metadata: Metadata, headerSize: bigint): void;
