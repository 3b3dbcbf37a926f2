/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ublk as JavaScript has it: commands as bytes, and servers.
 *
 *   ublkControl(operation, id, data, payload) -> Promise<Uint8Array>	the payload as it is afterwards
 *   ublkOpen(disk, id, queues, depth, discards, onEvent) -> server	of /dev/ublkcID
 *	onEvent("starved"); onEvent("ended", errno's name, or "" when the device was stopped)
 *   ublkSetMode(server, mode)			enum ublk_mode
 *   ublkDrained(server) -> boolean		in mode UBLK_DRAIN
 *   ublkWhole(server) -> boolean		the kernel has taken no tag back
 *   ublkCounters(server)
 *   ublkStop(server)
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/disk/counters_binding.h"
#include "addon/disk/disk_binding.h"
#include "addon/napi/values.h"
#include "addon/napi/work.h"
#include "addon/ublk/control.h"
#include "addon/ublk/server.h"

static napi_value throw_arguments(napi_env env)
{
	return js_throw_arguments(env, "ublk");
}

/* ---- control ---- */

#define PAYLOAD_MOST	512u

struct control {
	struct js_work work;
	uint32_t operation;
	struct ublk_control_command command;
	uint8_t payload[PAYLOAD_MOST];
	int result;
};

static void run_control(struct js_work *work)
{
	struct control *control = (struct control *)(void *)((char *)work - offsetof(struct control, work));

	control->result = ublk_control(control->operation, &control->command);
}

static napi_value answer_control(napi_env env, struct js_work *work, napi_value *error)
{
	struct control *control = (struct control *)(void *)((char *)work - offsetof(struct control, work));

	if (control->result >= 0)
		return js_bytes(env, control->payload, control->command.len);
	*error = js_error(env, js_errno_name(-control->result), "ublk refused the command");
	return NULL;
}

static void forget_control(struct js_work *work)
{
	free((char *)work - offsetof(struct control, work));
}

static napi_value ublk_send(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct control *control;
	uint32_t operation, id;
	uint64_t data;
	uint8_t *payload;
	size_t size;

	if (!js_arguments(env, info, 4, argv, NULL) || !js_get_uint32(env, argv[0], &operation) ||
	    !js_get_uint32(env, argv[1], &id) || !js_get_number(env, argv[2], &data) ||
	    !js_get_bytes(env, argv[3], &payload, &size) || size > PAYLOAD_MOST)
		return throw_arguments(env);
	control = calloc(1, sizeof(*control));
	if (control == NULL)
		return js_throw_errno(env, ENOMEM, "out of memory");
	memcpy(control->payload, payload, size);
	control->operation = operation;
	control->command = (struct ublk_control_command){
		.dev_id = id,
		.queue_id = UBLK_NO_QUEUE,
		.len = (uint16_t)size,
		.addr = size == 0 ? 0 : (uintptr_t)control->payload,
		.data = data,
	};
	control->work = (struct js_work){ .run = run_control, .answer = answer_control, .forget = forget_control };
	return js_start(env, &control->work, "tresor ublk", NULL);
}

/* ---- servers ---- */

struct binding {
	struct ublk_server *server;
	napi_threadsafe_function notify;	/* NULL once stopped */
};

/* What a thread tells: this address, or a number's. */
static int starved;
#define ERRNO_MOST	4096
static int ended[ERRNO_MOST];	/* the index is the errno */

/* On JavaScript's thread. */
static void deliver(napi_env env, napi_value callback, void *context, void *data)
{
	napi_value argv[2], undefined;

	(void)context;
	if (env == NULL)
		return;
	napi_get_undefined(env, &undefined);
	argv[0] = js_text(env, data == &starved ? "starved" : "ended");
	argv[1] = js_text(env, data == &starved || data == &ended[0] ? "" : js_errno_name((int)((int *)data - ended)));
	napi_call_function(env, undefined, callback, 2, argv, NULL);
}

/* The context is the function itself: threads that hang outlive the binding. */
static void tell_starved(void *context)
{
	napi_call_threadsafe_function(context, &starved, napi_tsfn_nonblocking);
}

static void tell_ended(void *context, int error)
{
	napi_call_threadsafe_function(context, &ended[error >= 0 && error < ERRNO_MOST ? error : EIO],
				      napi_tsfn_nonblocking);
}

static void stop(struct binding *binding)
{
	if (binding->server != NULL)
		ublk_server_stop(binding->server);
	if (binding->notify != NULL)
		napi_release_threadsafe_function(binding->notify, napi_tsfn_abort);
	binding->notify = NULL;
}

static void at_exit(void *argument)
{
	stop(argument);
}

static void binding_free(struct binding *binding)
{
	stop(binding);
	if (binding->server != NULL)
		ublk_server_free(binding->server);
	free(binding);
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)hint;
	napi_remove_env_cleanup_hook(env, at_exit, data);
	binding_free(data);
}

static napi_value ublk_open(napi_env env, napi_callback_info info)
{
	struct ublk_listener listener = { .starved = tell_starved, .ended = tell_ended };
	struct ublk_options options = { 0 };
	struct plain_volume *volume;
	struct binding *binding;
	napi_value argv[6], result;
	char path[32];
	uint32_t id;
	int error;

	if (!js_arguments(env, info, 6, argv, NULL) || !js_get_uint32(env, argv[1], &id) ||
	    !js_get_uint32(env, argv[2], &options.queues) || !js_get_uint32(env, argv[3], &options.depth) ||
	    !js_get_bool(env, argv[4], &options.discards) || options.queues == 0 || options.queues > UBLK_QUEUES_MOST ||
	    options.depth == 0 || options.depth > UBLK_DEPTH_MOST)
		return throw_arguments(env);
	volume = tresor_disk_unwrap(env, argv[0]);
	if (volume == NULL)
		return throw_arguments(env);
	binding = calloc(1, sizeof(*binding));
	if (binding == NULL)
		return js_throw_errno(env, ENOMEM, "out of memory");
	if (napi_create_threadsafe_function(env, argv[5], NULL, js_text(env, "tresor ublk"), 0, 1, NULL, NULL, NULL,
					    deliver, &binding->notify) != napi_ok) {
		binding_free(binding);
		return throw_arguments(env);
	}
	listener.context = binding->notify;
	snprintf(path, sizeof(path), "/dev/ublkc%u", id);
	options.device = open(path, O_RDWR | O_CLOEXEC);
	if (options.device >= 0)
		binding->server = ublk_server_open(volume, &options, &listener);
	error = errno;
	if (options.device >= 0)
		close(options.device);
	if (binding->server == NULL) {
		js_throw_errno(env, error, "cannot serve the device's queues");
		binding_free(binding);
		return NULL;
	}
	napi_add_env_cleanup_hook(env, at_exit, binding);
	napi_create_external(env, binding, finalize, NULL, &result);
	return result;
}

/* An external's binding, stopped or not; NULL when it is none. */
static struct binding *unwrap(napi_env env, napi_value value)
{
	napi_valuetype type;
	void *data = NULL;

	if (napi_typeof(env, value, &type) != napi_ok || type != napi_external ||
	    napi_get_value_external(env, value, &data) != napi_ok)
		return NULL;
	return data;
}

static napi_value ublk_set_mode(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct binding *binding = js_arguments(env, info, 2, argv, NULL) ? unwrap(env, argv[0]) : NULL;
	uint32_t mode;

	if (binding == NULL || !js_get_uint32(env, argv[1], &mode) || mode > UBLK_DRAIN)
		return throw_arguments(env);
	if (binding->notify != NULL)
		ublk_server_set_mode(binding->server, (enum ublk_mode)mode);
	return NULL;
}

static napi_value ask(napi_env env, napi_callback_info info, bool (*question)(const struct ublk_server *server))
{
	napi_value argv[1], result;
	struct binding *binding = js_arguments(env, info, 1, argv, NULL) ? unwrap(env, argv[0]) : NULL;

	if (binding == NULL)
		return throw_arguments(env);
	napi_get_boolean(env, question(binding->server), &result);
	return result;
}

static napi_value ublk_drained(napi_env env, napi_callback_info info)
{
	return ask(env, info, ublk_server_drained);
}

static napi_value ublk_whole(napi_env env, napi_callback_info info)
{
	return ask(env, info, ublk_server_whole);
}

static napi_value ublk_counters(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct binding *binding = js_arguments(env, info, 1, argv, NULL) ? unwrap(env, argv[0]) : NULL;
	struct counters counters;

	if (binding == NULL)
		return throw_arguments(env);
	counters = ublk_server_counters(binding->server);
	return counters_to_js(env, &counters, "waiting");
}

static napi_value ublk_stop(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct binding *binding = js_arguments(env, info, 1, argv, NULL) ? unwrap(env, argv[0]) : NULL;

	if (binding != NULL)
		stop(binding);
	return NULL;
}

void tresor_ublk_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "ublkControl", .method = ublk_send, .attributes = napi_enumerable },
		{ .utf8name = "ublkOpen", .method = ublk_open, .attributes = napi_enumerable },
		{ .utf8name = "ublkSetMode", .method = ublk_set_mode, .attributes = napi_enumerable },
		{ .utf8name = "ublkDrained", .method = ublk_drained, .attributes = napi_enumerable },
		{ .utf8name = "ublkWhole", .method = ublk_whole, .attributes = napi_enumerable },
		{ .utf8name = "ublkCounters", .method = ublk_counters, .attributes = napi_enumerable },
		{ .utf8name = "ublkStop", .method = ublk_stop, .attributes = napi_enumerable },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
