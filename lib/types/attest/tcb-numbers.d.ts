import type { PlatformType, SeenNumber, Verdict } from "./judge/verify.ts";
export declare const tcbNumbersPath: () => string;
/** For the verifier: what is required of a platform. Throws TresorError TCB_NUMBERS_BAD and the system's errors. */
export declare function seenNumbers(path?: string): (platform: PlatformType) => SeenNumber | null;
/**
 * Remembers what a verdict found Intel to have signed, whatever became of the
 * quote: a newer number that condemns a platform must stay known. `null`, or
 * why it cannot be kept: a home that cannot be written to does not stop anything.
 */
export declare function rememberNumber({ platform, tcbEvaluationDataNumber }: Verdict, path?: string): string | null;
