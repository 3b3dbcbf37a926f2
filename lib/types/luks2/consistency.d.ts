/** What the objects of a header say of each other and of its size. Pure; throws Odd. */
import { type Metadata } from "./metadata.ts";
/** Throws Odd. */
export declare function checkMetadata(metadata: Metadata, headerSize: bigint): void;
