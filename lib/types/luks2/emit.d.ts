import type { Metadata } from "./metadata.ts";
export declare function emitMetadata(metadata: Metadata): string;
