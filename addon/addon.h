/* SPDX-License-Identifier: Apache-2.0 */
/* The subjects of the addon; each registers its own functions. */
#ifndef TRESOR_ADDON_H
#define TRESOR_ADDON_H

#include <node_api.h>

void tresor_enclave_register(napi_env env, napi_value exports);	/* load, init, enter */
void tresor_cpu_register(napi_env env, napi_value exports);	/* what the CPU has */
void tresor_sectors_register(napi_env env, napi_value exports);	/* sector I/O on a file descriptor */
void tresor_checksums_register(napi_env env, napi_value exports);	/* SHA-256 of blocks */
void tresor_file_register(napi_env env, napi_value exports);	/* holes and aligned memory for a backing file */
void tresor_disk_register(napi_env env, napi_value exports);	/* a store's requests under way, on the event loop */
void tresor_channel_register(napi_env env, napi_value exports);	/* a socket read and written in batches */
void tresor_vhost_register(napi_env env, napi_value exports);	/* rings of a vhost-user front-end */
void tresor_ring_register(napi_env env, napi_value exports);	/* queues of /dev/tresor/control */
void tresor_ublk_register(napi_env env, napi_value exports);	/* block devices by the kernel's ublk */
void tresor_process_register(napi_env env, napi_value exports);	/* prctl, sd_notify, peer credentials, locks */
void tresor_passphrase_register(napi_env env, napi_value exports);	/* a line from the terminal */
void tresor_keyring_register(napi_env env, napi_value exports);	/* secrets in the kernel's keyring */
void tresor_tpm_register(napi_env env, napi_value exports);	/* what a TPM 2.0 seals and unseals */

#endif
