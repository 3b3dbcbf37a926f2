/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers: whole sectors in plaintext, in the memory of `buffer`, told by rows instead of promises:
 *
 *   disk.describe(offset, size, sectorSize, readOnly, past)	the volume on it
 *   disk.quiet(start, end)			bytes of the volume: what threads begin there waits. false: try again (quiet.h)
 *   disk.quietReached(), disk.quietOver()
 *   disk.setKey(enclave, handle), disk.clearKey()
 *   disk.reserve(length)			where in `buffer`; -1: no room now
 *   disk.release(at, length)
 *   disk.read(token, offset, length, at), disk.write(token, offset, length, at, durable)
 *   disk.writeFrom(token, offset, length, at, durable, memory, from)
 *						plaintext in another ArrayBuffer, which is read by the next turn only and
 *						does not change; `at` is where its ciphertext goes. ENOKEY in a later turn:
 *						nothing was written, and the plaintext is at `at`
 *   disk.turn(rows)				begins what was asked for; how many have ended: rows of (token, errno).
 *						onEnded() is called when another turn has some
 *						What has a promise is begun by a turn, too
 *   disk.due()					a turn has left some: another one is to follow
 *   disk.wipe()				what nobody has
 */
#include "addon/disk/transfers_binding.h"

#include <errno.h>
#include <string.h>

#include "addon/disk/arena.h"
#include "addon/disk/disk_object.h"
#include "addon/io/slab.h"
#include "addon/napi/values.h"
#include "addon/sgx/enclave_binding.h"

static napi_value number(napi_env env, double value)
{
	napi_value result;

	napi_create_double(env, value, &result);
	return result;
}

static napi_value disk_describe(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	struct disk_object *binding = disk_receive(env, info, 5, argv);
	struct plain_volume *volume;
	uint64_t offset, size;
	uint32_t sector_size;
	bool read_only, past;

	if (binding == NULL)
		return NULL;
	volume = transfers_volume(binding->transfers);
	if (!js_get_number(env, argv[0], &offset) || !js_get_number(env, argv[1], &size) ||
	    !js_get_uint32(env, argv[2], &sector_size) || !js_get_bool(env, argv[3], &read_only) ||
	    !js_get_bool(env, argv[4], &past) || sector_size < 512 || sector_size > ARENA_PAGE)
		return disk_throw_arguments(env);
	volume->offset = offset;
	volume->sector_size = sector_size;
	volume->read_only = read_only;
	volume->direct = volume->direct || (past && volume->disk->direct >= 0);
	__atomic_store_n(&volume->size, size, __ATOMIC_RELAXED);
	return NULL;
}

static napi_value disk_quiet(napi_env env, napi_callback_info info)
{
	napi_value argv[2], set;
	struct disk_object *binding = disk_receive(env, info, 2, argv);
	uint64_t start, end;

	if (binding == NULL)
		return NULL;
	if (!js_get_number(env, argv[0], &start) || !js_get_number(env, argv[1], &end) || start >= end)
		return disk_throw_arguments(env);
	napi_get_boolean(env, quiet_set(&transfers_volume(binding->transfers)->quiet, start, end), &set);
	return set;
}

static napi_value disk_quiet_reached(napi_env env, napi_callback_info info)
{
	struct disk_object *binding = disk_receive(env, info, 0, NULL);
	napi_value reached;

	if (binding == NULL)
		return NULL;
	napi_get_boolean(env, quiet_reached(&transfers_volume(binding->transfers)->quiet), &reached);
	return reached;
}

static napi_value disk_quiet_over(napi_env env, napi_callback_info info)
{
	struct disk_object *binding = disk_receive(env, info, 0, NULL);

	if (binding != NULL)
		quiet_clear(&transfers_volume(binding->transfers)->quiet);
	return NULL;
}

static napi_value disk_set_key(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct disk_object *binding = disk_receive(env, info, 2, argv);
	struct tresor_enclave *enclave = binding == NULL ? NULL : tresor_enclave_unwrap(env, argv[0]);
	uint32_t handle;

	if (binding == NULL)
		return NULL;
	if (enclave == NULL || !js_get_uint32(env, argv[1], &handle))
		return disk_throw_arguments(env);
	volume_key_set(transfers_volume(binding->transfers)->key, enclave, handle);
	return NULL;
}

static napi_value disk_clear_key(napi_env env, napi_callback_info info)
{
	struct disk_object *binding = disk_receive(env, info, 0, NULL);

	if (binding != NULL)
		volume_key_clear(transfers_volume(binding->transfers)->key);
	return NULL;
}

static napi_value disk_reserve(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct disk_object *binding = disk_receive(env, info, 1, argv);
	uint32_t length;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[0], &length))
		return disk_throw_arguments(env);
	return number(env, transfers_reserve(binding->transfers, length));
}

static napi_value disk_release(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct disk_object *binding = disk_receive(env, info, 2, argv);
	uint32_t at, length;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[0], &at) || !js_get_uint32(env, argv[1], &length) ||
	    !transfers_hold(binding->transfers, at, length))
		return disk_throw_arguments(env);
	transfers_release(binding->transfers, at, length);
	return NULL;
}

/* (token, offset, length, at) of a request that is told by a row. False, thrown, when something is wrong. */
static bool get_request(napi_env env, const struct disk_object *binding, const napi_value *argv,
			struct transfer_request *request)
{
	if (js_get_uint32(env, argv[0], &request->token) && js_get_number(env, argv[1], &request->offset) &&
	    js_get_uint32(env, argv[2], &request->length) && js_get_uint32(env, argv[3], &request->at) &&
	    transfers_hold(binding->transfers, request->at, request->length))
		return true;
	disk_throw_arguments(env);
	return false;
}

static napi_value put(napi_env env, struct disk_object *binding, const struct transfer_request *request,
		      uint8_t *plaintext)
{
	if (!transfers_put(binding->transfers, request, plaintext))
		js_throw_errno(env, ENOBUFS, "too many transfers");
	return NULL;
}

static napi_value disk_read(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct disk_object *binding = disk_receive(env, info, 4, argv);
	struct transfer_request request = { .op = PLAIN_READ };

	if (binding == NULL || !get_request(env, binding, argv, &request))
		return NULL;
	return put(env, binding, &request, NULL);
}

static napi_value disk_write(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	struct disk_object *binding = disk_receive(env, info, 5, argv);
	struct transfer_request request = { .op = PLAIN_WRITE };

	if (binding == NULL)
		return NULL;
	if (!js_get_bool(env, argv[4], &request.durable))
		return disk_throw_arguments(env);
	return get_request(env, binding, argv, &request) ? put(env, binding, &request, NULL) : NULL;
}

static napi_value disk_write_from(napi_env env, napi_callback_info info)
{
	napi_value argv[7];
	struct disk_object *binding = disk_receive(env, info, 7, argv);
	struct transfer_request request = { .op = PLAIN_WRITE };
	struct slab memory = { 0 };
	uint32_t from;
	void *start;

	if (binding == NULL || !get_request(env, binding, argv, &request))
		return NULL;
	if (!js_get_bool(env, argv[4], &request.durable) ||
	    napi_get_arraybuffer_info(env, argv[5], &start, &memory.size) != napi_ok ||
	    !js_get_uint32(env, argv[6], &from) || !slab_holds(&memory, from, request.length))
		return disk_throw_arguments(env);
	return put(env, binding, &request, (uint8_t *)start + from);
}

static napi_value disk_turn(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct disk_object *binding = disk_receive(env, info, 2, argv);
	uint32_t most, told;
	double *rows;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[1], &most) || (rows = slab_table(env, argv[0], most, TRANSFERS_COLUMNS)) == NULL)
		return disk_throw_arguments(env);
	told = transfers_turn(binding->transfers, rows, most);
	disk_watch(binding);
	return number(env, told);
}

static napi_value disk_due(napi_env env, napi_callback_info info)
{
	struct disk_object *binding = disk_receive(env, info, 0, NULL);
	napi_value due;

	if (binding == NULL)
		return NULL;
	napi_get_boolean(env, transfers_due(binding->transfers), &due);
	return due;
}

static napi_value disk_wipe(napi_env env, napi_callback_info info)
{
	struct disk_object *binding = disk_receive(env, info, 0, NULL);

	if (binding != NULL)
		transfers_wipe(binding->transfers);
	return NULL;
}

void transfers_define(napi_env env, napi_value object)
{
	static const napi_property_descriptor methods[] = {
		{ "describe", NULL, disk_describe, NULL, NULL, NULL, napi_default, NULL },
		{ "quiet", NULL, disk_quiet, NULL, NULL, NULL, napi_default, NULL },
		{ "quietReached", NULL, disk_quiet_reached, NULL, NULL, NULL, napi_default, NULL },
		{ "quietOver", NULL, disk_quiet_over, NULL, NULL, NULL, napi_default, NULL },
		{ "setKey", NULL, disk_set_key, NULL, NULL, NULL, napi_default, NULL },
		{ "clearKey", NULL, disk_clear_key, NULL, NULL, NULL, napi_default, NULL },
		{ "reserve", NULL, disk_reserve, NULL, NULL, NULL, napi_default, NULL },
		{ "release", NULL, disk_release, NULL, NULL, NULL, napi_default, NULL },
		{ "read", NULL, disk_read, NULL, NULL, NULL, napi_default, NULL },
		{ "write", NULL, disk_write, NULL, NULL, NULL, napi_default, NULL },
		{ "writeFrom", NULL, disk_write_from, NULL, NULL, NULL, napi_default, NULL },
		{ "turn", NULL, disk_turn, NULL, NULL, NULL, napi_default, NULL },
		{ "due", NULL, disk_due, NULL, NULL, NULL, napi_default, NULL },
		{ "wipe", NULL, disk_wipe, NULL, NULL, NULL, napi_default, NULL },
	};

	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
}
