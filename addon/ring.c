/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/addon.h"

void tresor_ring_register(napi_env env, napi_value exports)
{
	(void)env;
	(void)exports;
}
