/**
 * Tresor for programs: LUKS2 volumes whose keys exist only inside an enclave. Passphrases are Uint8Array and wiped by
 * the call that takes them. Errors are TresorError, with a stable `code` and cryptsetup's exit code, or IoError.
 */
export { type ExitCode, TresorError } from "./base/errors.ts"
export { type Errno, IoError } from "./base/io-error.ts"
export type { VolumeStatus } from "./control/volume.ts"
export { backupHeader, type RestoreOptions, restoreHeader } from "./header/backup.ts"
export { connect, RunningVolume, type UnlockOptions } from "./library/connect.ts"
export { type Created, type CreateOptions, create } from "./library/create.ts"
export type { DoctorCheck } from "./library/doctor/check.ts"
export { examineMachine } from "./library/doctor.ts"
export { Keyslots, type KeyslotsOptions, keyslots, type NewKeyslot } from "./library/keyslots.ts"
export { type Reencrypted, type ReencryptOptions, reencrypt } from "./library/new-key.ts"
export { NbdExport, type OpenOptions, OpenVolume, open } from "./library/open-volume.ts"
