/* SPDX-License-Identifier: Apache-2.0 */
/* Work that may wait, on a thread of libuv's pool; a promise tells its end. */
#ifndef TRESOR_NAPI_WORK_H
#define TRESOR_NAPI_WORK_H

#include <node_api.h>

/* Embedded in what the work is on, which `forget` frees. */
struct js_work {
	/* On the pool: calls nothing of napi's. */
	void (*run)(struct js_work *work);
	/* On JavaScript's thread, unless the environment ended first: resolved with what it returns, or rejected with *error. */
	napi_value (*answer)(napi_env env, struct js_work *work, napi_value *error);
	/* On JavaScript's thread, last. */
	void (*forget)(struct js_work *work);
	/* work.c's own. */
	napi_async_work handle;
	napi_deferred deferred;
	napi_ref kept;
};

/* The promise. `keep`: stays where it is until the end, for the bytes in it; or NULL. `name`: for async hooks. */
napi_value js_start(napi_env env, struct js_work *work, const char *name, napi_value keep);

#endif
