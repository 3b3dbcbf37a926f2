/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_ADDON_H
#define TRESOR_ADDON_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void tresor_enclave_register(napi_env env, napi_value exports);	/* load, init, enter */
void tresor_cpu_register(napi_env env, napi_value exports);	/* what the CPU has */
void tresor_sectors_register(napi_env env, napi_value exports);	/* sector I/O on a file descriptor */
void tresor_file_register(napi_env env, napi_value exports);	/* holes and aligned memory for a backing file */
void tresor_channel_register(napi_env env, napi_value exports);	/* a socket read and written in batches */
void tresor_ring_register(napi_env env, napi_value exports);	/* queues of /dev/tresor */
void tresor_system_register(napi_env env, napi_value exports);	/* prctl, sd_notify, peer credentials, tty, locks */

/*
 * An enclave as the C parts of the addon share it. Reference counted: the
 * JavaScript object, every sector device and every ring queue holds one.
 * tresor_enclave_enter may be called from any thread; it takes a free TCS,
 * waiting for one if all are busy, and returns enum tresor_status, or
 * TRESOR_ENTER_LOST when the enclave is gone (fault, EPC lost): for ever after
 * it returns that at once. After TRESOR_E_DEAD too: a dead enclave is wiped.
 */
struct tresor_enclave;
#define TRESOR_ENTER_LOST	0xffffffffu

uint32_t tresor_enclave_enter(struct tresor_enclave *enclave, void *request);
struct tresor_enclave *tresor_enclave_ref(struct tresor_enclave *enclave);
void tresor_enclave_unref(struct tresor_enclave *enclave);
bool tresor_enclave_alive(const struct tresor_enclave *enclave);
/* From the JavaScript object made by tresor_enclave_register; NULL when it is none. */
struct tresor_enclave *tresor_enclave_unwrap(napi_env env, napi_value object);

#endif
