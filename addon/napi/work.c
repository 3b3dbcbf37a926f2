/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/napi/work.h"

#include "addon/napi/values.h"

static void execute(napi_env env, void *data)
{
	struct js_work *work = data;

	(void)env;
	work->run(work);
}

static void complete(napi_env env, napi_status state, void *data)
{
	struct js_work *work = data;
	napi_value error = NULL, result;

	/* Cancelled when the environment ends: nobody waits for the promise then. */
	if (state == napi_ok) {
		result = work->answer(env, work, &error);
		if (error != NULL)
			napi_reject_deferred(env, work->deferred, error);
		else if (result != NULL)
			napi_resolve_deferred(env, work->deferred, result);
	}
	if (work->kept != NULL)
		napi_delete_reference(env, work->kept);
	napi_delete_async_work(env, work->handle);
	work->forget(work);
}

napi_value js_start(napi_env env, struct js_work *work, const char *name, napi_value keep)
{
	napi_value promise;

	work->kept = NULL;
	if (keep != NULL)
		napi_create_reference(env, keep, 1, &work->kept);
	napi_create_promise(env, &work->deferred, &promise);
	napi_create_async_work(env, NULL, js_text(env, name), execute, complete, work, &work->handle);
	napi_queue_async_work(env, work->handle);
	return promise;
}
