/* SPDX-License-Identifier: Apache-2.0 */
/* The JavaScript object that stands for a disk, for those who give it methods. */
#ifndef TRESOR_DISK_OBJECT_H
#define TRESOR_DISK_OBJECT_H

#include <node_api.h>
#include <uv.h>

#include "addon/disk/transfers.h"

struct disk_object {
	napi_env env;
	napi_ref on_ended;
	napi_async_context context;
	uv_poll_t *poll, *lanes_poll;	/* freed by their own close callback */
	struct transfers *transfers;	/* NULL: closed */
};

napi_value disk_throw_arguments(napi_env env);
/* `this` and the arguments; NULL, thrown, when something is missing or the disk was closed. */
struct disk_object *disk_receive(napi_env env, napi_callback_info info, size_t count, napi_value *argv);
/* The event loop waits for what is under way, and for nothing else. After anything was begun or has ended. */
void disk_watch(struct disk_object *binding);

#endif
