/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/disk_object.h"

#include <errno.h>

#include "addon/napi/values.h"

napi_value disk_throw_arguments(napi_env env)
{
	return js_throw_arguments(env, "disk");
}

struct disk_object *disk_receive(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct disk_object *binding = NULL;
	napi_value self;

	if (!js_arguments(env, info, count, argv, &self) || napi_unwrap(env, self, (void **)&binding) != napi_ok) {
		disk_throw_arguments(env);
		return NULL;
	}
	if (binding->transfers == NULL) {
		js_throw_errno(env, EBADF, "the disk is closed");
		return NULL;
	}
	return binding;
}

static void readable(uv_poll_t *poll, int status, int events)
{
	struct disk_object *binding = poll->data;
	napi_value callback, receiver;
	napi_handle_scope scope;

	(void)status;
	(void)events;
	if (binding == NULL || binding->transfers == NULL)
		return;
	napi_open_handle_scope(binding->env, &scope);
	napi_get_reference_value(binding->env, binding->on_ended, &callback);
	napi_get_global(binding->env, &receiver);
	napi_make_callback(binding->env, binding->context, receiver, callback, 0, NULL, NULL);
	napi_close_handle_scope(binding->env, scope);
}

/* Once begun, watching goes on, for nobody: to begin and end it with each request costs two system calls. */
static void watch_if(uv_poll_t *poll, bool busy)
{
	if (!busy) {
		uv_unref((uv_handle_t *)poll);
		return;
	}
	uv_ref((uv_handle_t *)poll);
	if (!uv_is_active((uv_handle_t *)poll))
		uv_poll_start(poll, UV_READABLE, readable);
}

void disk_watch(struct disk_object *binding)
{
	const struct lanes *lanes = transfers_lanes(binding->transfers);

	watch_if(binding->poll, disk_queue_pending(transfers_queue(binding->transfers)) > 0);
	if (lanes != NULL)
		watch_if(binding->lanes_poll, lanes_pending(lanes) > 0);
}
