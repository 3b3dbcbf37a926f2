/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of a vhost-user front-end, as JavaScript has them (device.h):
 *
 *   createVhost(disk, discards, id, spinUs, onEvent) -> Vhost	`id`: 20 bytes. onEvent(enum vring_event, ring, value)
 *   vhost.setMemory(rows, count)		BigUint64Array, rows of (fd, guest, size, user, offset)
 *   vhost.setInflight(fd, offset, size, rings, descriptors)	fd -1: none
 *   vhost.start(ring, kick, place, eventIndex)	BigUint64Array: size, next, descriptors, used, available
 *   vhost.stop(ring)
 *   vhost.setCall(ring, fd), vhost.setError(ring, fd)		-1: none
 *   vhost.retry(fail)
 *   vhost.counters()
 *   vhost.close(milliseconds)		false: a thread hangs
 *   vhostRecord(rings, descriptors) -> { fd, size }		fresh memory for setInflight, sealed; the caller's
 *
 * Descriptors stay the caller's. What a peer got wrong is thrown as an Error whose `code` is an errno's name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/disk/counters_binding.h"
#include "addon/disk/disk_binding.h"
#include "addon/napi/values.h"
#include "addon/vhost/device.h"

#define COLUMNS		5u

struct binding {
	napi_env env;
	struct device *device;	/* NULL: closed */
	napi_threadsafe_function notify;
};

static napi_value throw_arguments(napi_env env)
{
	return js_throw_arguments(env, "vhost");
}

/* ---- events ---- */

/* On JavaScript's thread. The event is in the pointer itself. */
static void deliver(napi_env env, napi_value callback, void *context, void *data)
{
	const uint64_t packed = (uintptr_t)data;
	napi_value argv[3], undefined;

	(void)context;
	if (env == NULL)
		return;
	napi_get_undefined(env, &undefined);
	napi_create_uint32(env, (uint32_t)(packed >> 48), &argv[0]);
	napi_create_uint32(env, (uint32_t)(packed >> 32) & 0xffff, &argv[1]);
	napi_create_uint32(env, (uint32_t)packed, &argv[2]);
	napi_call_function(env, undefined, callback, 3, argv, NULL);
}

/* The context is the function itself: threads that hang outlive the binding. */
static void tell(void *context, enum vring_event event, uint32_t ring, uint32_t value)
{
	const uint64_t packed = (uint64_t)event << 48 | (uint64_t)ring << 32 | value;

	napi_call_threadsafe_function(context, (void *)(uintptr_t)packed, napi_tsfn_nonblocking);
}

static void hold(void *context)
{
	napi_acquire_threadsafe_function(context);
}

static void release(void *context)
{
	napi_release_threadsafe_function(context, napi_tsfn_release);
}

/* ---- arguments ---- */

/* `this` and the arguments; NULL, thrown, when something is missing or it was closed. */
static struct device *receive(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct binding *binding = NULL;
	napi_value self;

	if (!js_arguments(env, info, count, argv, &self) || napi_unwrap(env, self, (void **)&binding) != napi_ok) {
		throw_arguments(env);
		return NULL;
	}
	if (binding->device == NULL)
		js_throw_errno(env, EBADF, "the device is closed");
	return binding->device;
}

/* A BigUint64Array of at least that many numbers; NULL: it is none. */
static const uint64_t *numbers_of(napi_env env, napi_value value, size_t count)
{
	napi_typedarray_type type;
	size_t length;
	void *data;

	if (napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok ||
	    type != napi_biguint64_array || length < count)
		return NULL;
	return data;
}

static bool get_ring(napi_env env, napi_value value, uint32_t *ring)
{
	return js_get_uint32(env, value, ring) && *ring < DEVICE_RINGS;
}

static napi_value answer(napi_env env, int error, const char *refusal)
{
	return error == 0 ? NULL : js_throw_errno(env, error, refusal);
}

/* ---- functions ---- */

static napi_value vhost_set_memory(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct device *device = receive(env, info, 2, argv);
	struct region_row rows[REGIONS_MAX];
	int fds[REGIONS_MAX];
	const uint64_t *table;
	uint32_t count;

	if (device == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[1], &count) || count > REGIONS_MAX ||
	    (table = numbers_of(env, argv[0], (size_t)count * COLUMNS)) == NULL)
		return throw_arguments(env);
	for (uint32_t i = 0; i < count; i++) {
		const uint64_t *row = table + (size_t)i * COLUMNS;

		fds[i] = (int)row[0];
		rows[i] = (struct region_row){ .guest = row[1], .size = row[2], .user = row[3], .offset = row[4] };
	}
	return answer(env, device_set_memory(device, fds, rows, count), "the memory cannot be shared");
}

static napi_value vhost_set_inflight(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	struct device *device = receive(env, info, 5, argv);
	uint32_t rings, descriptors;
	uint64_t offset, size;
	int32_t fd;

	if (device == NULL)
		return NULL;
	if (!js_get_int32(env, argv[0], &fd) || !js_get_number(env, argv[1], &offset) ||
	    !js_get_number(env, argv[2], &size) || !js_get_uint32(env, argv[3], &rings) || rings > UINT16_MAX ||
	    !js_get_uint32(env, argv[4], &descriptors) || descriptors > UINT16_MAX)
		return throw_arguments(env);
	return answer(env, device_set_inflight(device, fd, offset, size, (uint16_t)rings, (uint16_t)descriptors),
		      "the record of requests under way cannot be used");
}

static napi_value vhost_start(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct device *device = receive(env, info, 4, argv);
	struct virtqueue_place place;
	const uint64_t *numbers;
	bool event_index;
	uint32_t ring;
	int32_t kick;

	if (device == NULL)
		return NULL;
	if (!get_ring(env, argv[0], &ring) || !js_get_int32(env, argv[1], &kick) ||
	    (numbers = numbers_of(env, argv[2], 5)) == NULL || !js_get_bool(env, argv[3], &event_index) ||
	    numbers[0] > VIRTQUEUE_MAX || numbers[1] > UINT16_MAX)
		return throw_arguments(env);
	place = (struct virtqueue_place){
		.size = (uint16_t)numbers[0],
		.next = (uint16_t)numbers[1],
		.descriptors = numbers[2],
		.used = numbers[3],
		.available = numbers[4],
		.event_index = event_index,
	};
	return answer(env, device_start(device, ring, &place, kick), "the ring cannot be started");
}

static napi_value vhost_stop(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct device *device = receive(env, info, 1, argv);
	uint32_t ring;

	if (device == NULL)
		return NULL;
	if (!get_ring(env, argv[0], &ring))
		return throw_arguments(env);
	device_stop(device, ring);
	return NULL;
}

static napi_value set_signal(napi_env env, napi_callback_info info,
			     int (*set)(struct device *device, uint32_t ring, int fd))
{
	napi_value argv[2];
	struct device *device = receive(env, info, 2, argv);
	uint32_t ring;
	int32_t fd;

	if (device == NULL)
		return NULL;
	if (!get_ring(env, argv[0], &ring) || !js_get_int32(env, argv[1], &fd))
		return throw_arguments(env);
	return answer(env, set(device, ring, fd), "no descriptor is left");
}

static napi_value vhost_set_call(napi_env env, napi_callback_info info)
{
	return set_signal(env, info, device_set_call);
}

static napi_value vhost_set_error(napi_env env, napi_callback_info info)
{
	return set_signal(env, info, device_set_error);
}

static napi_value vhost_retry(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct device *device = receive(env, info, 1, argv);
	bool fail;

	if (device == NULL)
		return NULL;
	if (!js_get_bool(env, argv[0], &fail))
		return throw_arguments(env);
	device_retry(device, fail);
	return NULL;
}

static napi_value vhost_counters(napi_env env, napi_callback_info info)
{
	struct device *device = receive(env, info, 0, NULL);
	struct counters counters;

	if (device == NULL)
		return NULL;
	counters = device_counters(device);
	return counters_to_js(env, &counters, "pending");
}

/* ---- life ---- */

static bool close_binding(struct binding *binding, int ms)
{
	bool ended;

	if (binding->device == NULL)
		return true;
	ended = device_close(binding->device, ms);
	binding->device = NULL;
	napi_release_threadsafe_function(binding->notify, napi_tsfn_release);
	return ended;
}

static napi_value vhost_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1], self, result;
	struct binding *binding = NULL;
	uint32_t ms;

	if (!js_arguments(env, info, 1, argv, &self) || napi_unwrap(env, self, (void **)&binding) != napi_ok ||
	    !js_get_uint32(env, argv[0], &ms) || ms > INT32_MAX / 1000)
		return throw_arguments(env);
	napi_get_boolean(env, close_binding(binding, (int)ms), &result);
	return result;
}

static void at_exit(void *argument)
{
	close_binding(argument, 0);
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)hint;
	napi_remove_env_cleanup_hook(env, at_exit, data);
	close_binding(data, 0);
	free(data);
}

static napi_value create_vhost(napi_env env, napi_callback_info info)
{
	static const napi_property_descriptor methods[] = {
		{ "setMemory", NULL, vhost_set_memory, NULL, NULL, NULL, napi_default, NULL },
		{ "setInflight", NULL, vhost_set_inflight, NULL, NULL, NULL, napi_default, NULL },
		{ "start", NULL, vhost_start, NULL, NULL, NULL, napi_default, NULL },
		{ "stop", NULL, vhost_stop, NULL, NULL, NULL, napi_default, NULL },
		{ "setCall", NULL, vhost_set_call, NULL, NULL, NULL, napi_default, NULL },
		{ "setError", NULL, vhost_set_error, NULL, NULL, NULL, napi_default, NULL },
		{ "retry", NULL, vhost_retry, NULL, NULL, NULL, napi_default, NULL },
		{ "counters", NULL, vhost_counters, NULL, NULL, NULL, napi_default, NULL },
		{ "close", NULL, vhost_close, NULL, NULL, NULL, napi_default, NULL },
	};
	struct device_listener listener = { .tell = tell, .hold = hold, .release = release };
	uint8_t id[REQUEST_ID_SIZE];
	struct plain_volume *volume;
	napi_value argv[5], object;
	struct binding *binding;
	uint32_t spin_us;
	bool discards;

	if (!js_arguments(env, info, 5, argv, NULL) || (volume = tresor_disk_unwrap(env, argv[0])) == NULL ||
	    !js_get_bool(env, argv[1], &discards) || !js_copy_bytes(env, argv[2], id, sizeof(id)) ||
	    !js_get_uint32(env, argv[3], &spin_us))
		return throw_arguments(env);
	binding = calloc(1, sizeof(*binding));
	if (binding == NULL)
		return js_throw_errno(env, ENOMEM, "out of memory");
	binding->env = env;
	if (napi_create_threadsafe_function(env, argv[4], NULL, js_text(env, "tresor vhost"), 0, 1, NULL, NULL, NULL,
					    deliver, &binding->notify) != napi_ok) {
		free(binding);
		return throw_arguments(env);
	}
	listener.context = binding->notify;
	binding->device = device_new(volume, discards, id, spin_us, &listener);
	if (binding->device == NULL) {
		const int cause = errno;

		napi_release_threadsafe_function(binding->notify, napi_tsfn_release);
		free(binding);
		return js_throw_errno(env, cause, "no memory or descriptor for a front-end's rings");
	}
	napi_add_env_cleanup_hook(env, at_exit, binding);
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_wrap(env, object, binding, finalize, NULL, NULL);
	return object;
}

static napi_value vhost_record(napi_env env, napi_callback_info info)
{
	uint32_t rings, descriptors;
	napi_value argv[2], result;
	uint64_t size;
	int fd;

	if (!js_arguments(env, info, 2, argv, NULL) || !js_get_uint32(env, argv[0], &rings) ||
	    !js_get_uint32(env, argv[1], &descriptors) || rings == 0 || rings > DEVICE_RINGS || descriptors == 0 ||
	    descriptors > VIRTQUEUE_MAX)
		return throw_arguments(env);
	size = rings * inflight_size((uint16_t)descriptors);
	fd = memfd_create("tresor vhost inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
		const int cause = errno;

		if (fd >= 0)
			close(fd);
		return js_throw_errno(env, cause, "no memory for the record of requests under way");
	}
	napi_create_object(env, &result);
	js_set_int32(env, result, "fd", fd);
	js_set_double(env, result, "size", (double)size);
	return result;
}

void tresor_vhost_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "createVhost", .method = create_vhost, .attributes = napi_enumerable },
		{ .utf8name = "vhostRecord", .method = vhost_record, .attributes = napi_enumerable },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
