/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addon's front door. Nothing
 * here or behind it is trusted with a key where the enclave is hardware's.
 */
#include <node_api.h>

#include "addon/addon.h"

static napi_value init(napi_env env, napi_value exports)
{
	tresor_enclave_register(env, exports);
	tresor_cpu_register(env, exports);
	tresor_sectors_register(env, exports);
	tresor_file_register(env, exports);
	tresor_checksums_register(env, exports);
	tresor_disk_register(env, exports);
	tresor_channel_register(env, exports);
	tresor_vhost_register(env, exports);
	tresor_ring_register(env, exports);
	tresor_ublk_register(env, exports);
	tresor_process_register(env, exports);
	tresor_passphrase_register(env, exports);
	tresor_keyring_register(env, exports);
	tresor_tpm_register(env, exports);
	return exports;
}

NAPI_MODULE(NODE_GYP_MODULE_NAME, init)
