import { type Collateral } from "../judge/collateral.ts";
import { Refusal } from "../judge/refusal.ts";
/** What cannot be parsed is a Refusal, for the verdict; what cannot be read is a TresorError. */
export declare function readCollateral(path: string): Collateral | Refusal;
/** Where the collateral of remote SGX enclaves is kept: a folder, or one JSON file. `null`: nowhere. */
export declare function keptCollateralPath(): string | null;
/** As readCollateral. */
export declare function keptCollateral(): Collateral | Refusal;
