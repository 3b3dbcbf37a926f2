/* SPDX-License-Identifier: Apache-2.0 */
/* The ring as JavaScript has it: an external value, and functions of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addon/addon.h"
#include "addon/napi/values.h"
#include "addon/ring.h"
#include "addon/sgx/enclave_binding.h"

struct binding {
	struct tresor_ring *ring;
	napi_threadsafe_function notify;	/* NULL once stopped */
};

/* What JavaScript hears beside events: the addresses of these. */
static struct tresor_event lost, detached;

static napi_value throw_arguments(napi_env env)
{
	return js_throw_arguments(env, "ring");
}

/* On JavaScript's thread: onEvent(event), or onEvent("lost" | "detached"). */
static void deliver(napi_env env, napi_value callback, void *context, void *data)
{
	struct tresor_event *event = data;
	napi_value argument, bytes, undefined;
	void *copy = NULL;

	(void)context;
	if (env == NULL)
		goto wipe;
	napi_get_undefined(env, &undefined);
	if (event == &lost || event == &detached) {
		argument = js_text(env, event == &lost ? "lost" : "detached");
	} else {
		napi_create_object(env, &argument);
		js_set_uint32(env, argument, "type", event->type);
		js_set_uint32(env, argument, "cookie", event->cookie);
		js_set_uint64(env, argument, "id", event->id);
		js_set_uint32(env, argument, "mode", event->mode);
		js_set_uint32(env, argument, "size", event->size);
		js_set_uint32(env, argument, "flags", event->flags);
		if (event->size > TRESOR_BYTES_MAX ||
		    napi_create_buffer_copy(env, event->size, event->bytes, &copy, &bytes) != napi_ok)
			goto wipe;
		napi_set_named_property(env, argument, "bytes", bytes);
	}
	napi_call_function(env, undefined, callback, 1, &argument, NULL);
wipe:
	if (event != &lost && event != &detached) {
		explicit_bzero(event, sizeof(*event));
		free(event);
	}
}

/* The context is the function itself: threads that hang outlive the binding. */
static bool hear_event(void *context, struct tresor_event *event)
{
	return napi_call_threadsafe_function(context, event, napi_tsfn_blocking) == napi_ok;
}

static void hear_end(void *context, bool is_detached)
{
	napi_call_threadsafe_function(context, is_detached ? &detached : &lost, napi_tsfn_nonblocking);
}

static void stop(struct binding *binding)
{
	tresor_ring_stop(binding->ring);
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
	tresor_ring_free(binding->ring);
	free(binding);
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)hint;
	napi_remove_env_cleanup_hook(env, at_exit, data);
	binding_free(data);
}

/* ringOpen(enclave, queues, depth, legacy, spinUs, onEvent): external */
static napi_value ring_open(napi_env env, napi_callback_info info)
{
	struct tresor_ring_options options = { 0 };
	struct tresor_ring_listener listener = { .event = hear_event, .ended = hear_end };
	struct tresor_enclave *enclave;
	struct binding *binding;
	napi_value argv[6], result;

	if (!js_arguments(env, info, 6, argv, NULL))
		return throw_arguments(env);
	enclave = tresor_enclave_unwrap(env, argv[0]);
	if (enclave == NULL || !js_get_uint32(env, argv[1], &options.queues) ||
	    !js_get_uint32(env, argv[2], &options.depth) || !js_get_bool(env, argv[3], &options.legacy) ||
	    !js_get_uint32(env, argv[4], &options.spin_us) || options.queues == 0 ||
	    options.queues > TRESOR_QUEUES_MAX || options.depth > TRESOR_DEPTH_MAX)
		return throw_arguments(env);
	binding = calloc(1, sizeof(*binding));
	if (binding == NULL)
		return js_throw_errno(env, ENOMEM, "out of memory");
	binding->ring = tresor_ring_open(enclave, &options);
	if (binding->ring == NULL) {
		js_throw_errno(env, errno, "cannot open " TRESOR_DEVICE);
		free(binding);
		return NULL;
	}
	if (napi_create_threadsafe_function(env, argv[5], NULL, js_text(env, "tresor ring"), 0, 1, NULL, NULL, NULL,
					    deliver, &binding->notify) != napi_ok) {
		binding_free(binding);
		return throw_arguments(env);
	}
	listener.context = binding->notify;
	if (tresor_ring_start(binding->ring, &listener) != 0) {
		js_throw_errno(env, errno, "cannot attach to " TRESOR_DEVICE);
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
	void *data = NULL;
	napi_valuetype type;

	if (napi_typeof(env, value, &type) != napi_ok || type != napi_external ||
	    napi_get_value_external(env, value, &data) != napi_ok)
		return NULL;
	return data;
}

/* The ring and the other arguments of a function; NULL when one is missing, or the ring was stopped. */
static struct tresor_ring *receive(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct binding *binding = js_arguments(env, info, count, argv, NULL) ? unwrap(env, argv[0]) : NULL;

	return binding == NULL || binding->notify == NULL ? NULL : binding->ring;
}

/* On a key's handle: ciphers that hold it. */
static napi_value control_handle(napi_env env, const struct tresor_ring *ring, unsigned long command,
				 struct tresor_key_handle *request, const char *refusal)
{
	napi_value result = NULL;

	if (tresor_ring_control(ring, command, request) != 0)
		return js_throw_errno(env, errno, refusal);
	napi_create_uint32(env, request->users, &result);
	return result;
}

/* ringAdd(ring, handle, cookie, check): ciphers that hold it already */
static napi_value ring_add(napi_env env, napi_callback_info info)
{
	struct tresor_key_handle request = { 0 };
	napi_value argv[4];
	struct tresor_ring *ring = receive(env, info, 4, argv);

	if (ring == NULL || !js_copy_bytes(env, argv[1], request.handle, sizeof(request.handle)) ||
	    !js_get_uint32(env, argv[2], &request.cookie) ||
	    !js_copy_bytes(env, argv[3], request.check, sizeof(request.check)))
		return throw_arguments(env);
	return control_handle(env, ring, TRESOR_IOC_ADD, &request, "cannot add the handle");
}

/* ringDrop(ring, handle): ciphers that still held it */
static napi_value ring_drop(napi_env env, napi_callback_info info)
{
	struct tresor_key_handle request = { 0 };
	napi_value argv[2];
	struct tresor_ring *ring = receive(env, info, 2, argv);

	if (ring == NULL || !js_copy_bytes(env, argv[1], request.handle, sizeof(request.handle)))
		return throw_arguments(env);
	return control_handle(env, ring, TRESOR_IOC_DROP, &request, "cannot drop the handle");
}

static napi_value answer_ioctl(napi_env env, napi_callback_info info, unsigned long command)
{
	napi_value argv[5];
	struct tresor_ring *ring = receive(env, info, 5, argv);
	struct tresor_answer answer = { 0 };
	uint64_t id;

	if (ring == NULL || !js_get_uint64(env, argv[1], &id) || !js_get_uint32(env, argv[2], &answer.cookie) ||
	    !js_get_int32(env, argv[3], &answer.status) ||
	    !js_copy_bytes(env, argv[4], answer.check, sizeof(answer.check)))
		return throw_arguments(env);
	answer.id = id;
	if (tresor_ring_control(ring, command, &answer) != 0)
		return js_throw_errno(env, errno, "the answer was not taken");
	return NULL;
}

/* ringAnswer(ring, id, cookie, status, check) */
static napi_value ring_answer(napi_env env, napi_callback_info info)
{
	return answer_ioctl(env, info, TRESOR_IOC_ANSWER);
}

/* ringRelease(ring, id, cookie, 0, check): a key answered as held */
static napi_value ring_release(napi_env env, napi_callback_info info)
{
	return answer_ioctl(env, info, TRESOR_IOC_RELEASE);
}

/* ringProbe(ring, cookie, mode, length, sector): zeros, encrypted */
static napi_value ring_probe(napi_env env, napi_callback_info info)
{
	napi_value argv[5], result = NULL;
	struct tresor_ring *ring = receive(env, info, 5, argv);
	uint32_t cookie = 0, mode = 0, length = 0;
	uint64_t sector = 0;
	uint8_t *data;
	int error;

	if (ring == NULL || !js_get_uint32(env, argv[1], &cookie) || !js_get_uint32(env, argv[2], &mode) ||
	    !js_get_uint32(env, argv[3], &length) || !js_get_uint64(env, argv[4], &sector) || mode > UINT16_MAX ||
	    length == 0 || length > TRESOR_SLOT_SIZE)
		return throw_arguments(env);
	data = malloc(length);
	if (data == NULL)
		return js_throw_errno(env, ENOMEM, "out of memory");
	error = tresor_ring_probe(ring, cookie, (uint16_t)mode, sector, data, length);
	if (error == 0)
		napi_create_buffer_copy(env, length, data, NULL, &result);
	else
		js_throw_errno(env, error, "the enclave does not encrypt under this key");
	free(data);
	return result;
}

/* ringCounters(ring): {batches, blocks, bytes, failures}, bigints */
static napi_value ring_counters(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct tresor_ring *ring = receive(env, info, 1, argv);
	struct tresor_ring_counters counters;

	if (ring == NULL)
		return throw_arguments(env);
	counters = tresor_ring_counters(ring);
	napi_create_object(env, &result);
	js_set_uint64(env, result, "batches", counters.batches);
	js_set_uint64(env, result, "blocks", counters.blocks);
	js_set_uint64(env, result, "bytes", counters.bytes);
	js_set_uint64(env, result, "failures", counters.failures);
	return result;
}

/* ringStop(ring): threads end, requests inside wait for the next daemon */
static napi_value ring_stop(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct binding *binding = js_arguments(env, info, 1, argv, NULL) ? unwrap(env, argv[0]) : NULL;

	if (binding != NULL)
		stop(binding);
	return NULL;
}

void tresor_ring_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "ringOpen", .method = ring_open, .attributes = napi_enumerable },
		{ .utf8name = "ringAdd", .method = ring_add, .attributes = napi_enumerable },
		{ .utf8name = "ringDrop", .method = ring_drop, .attributes = napi_enumerable },
		{ .utf8name = "ringAnswer", .method = ring_answer, .attributes = napi_enumerable },
		{ .utf8name = "ringRelease", .method = ring_release, .attributes = napi_enumerable },
		{ .utf8name = "ringProbe", .method = ring_probe, .attributes = napi_enumerable },
		{ .utf8name = "ringCounters", .method = ring_counters, .attributes = napi_enumerable },
		{ .utf8name = "ringStop", .method = ring_stop, .attributes = napi_enumerable },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
