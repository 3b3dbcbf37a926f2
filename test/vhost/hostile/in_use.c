/* SPDX-License-Identifier: Apache-2.0 */
/* A module of Node, a function: bytes of the process that malloc has given out and not got back, in all arenas. */
#include <malloc.h>
#include <node_api.h>

static napi_value in_use(napi_env env, napi_callback_info info)
{
	const struct mallinfo2 of = mallinfo2();
	napi_value bytes;

	(void)info;
	if (napi_create_double(env, (double)(of.uordblks + of.hblkhd), &bytes) != napi_ok)
		return NULL;
	return bytes;
}

NAPI_MODULE_INIT()
{
	napi_value function;

	(void)exports;
	if (napi_create_function(env, "inUse", NAPI_AUTO_LENGTH, in_use, NULL, &function) != napi_ok)
		return NULL;
	return function;
}
