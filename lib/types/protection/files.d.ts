import type { Files } from "./read.ts";
export declare const files: Files;
