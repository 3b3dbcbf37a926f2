/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backing file needs and Node does not offer: holes punched into it, and
 * memory that O_DIRECT accepts.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addon/addon.h"

#define PAGE		4096
#define LARGEST_BUFFER	(64 << 20)

static void throw_errno(napi_env env, int error, const char *what)
{
	const char *name = strerrorname_np(error);
	char message[128];

	snprintf(message, sizeof(message), "%s: %s", what, strerrordesc_np(error));
	napi_throw_error(env, name ? name : "EIO", message);
}

static bool get_arguments(napi_env env, napi_callback_info info, size_t wanted, napi_value *argv)
{
	size_t count = wanted;

	if (napi_get_cb_info(env, info, &count, argv, NULL, NULL) == napi_ok && count == wanted)
		return true;
	napi_throw_type_error(env, "EINVAL", "wrong number of arguments");
	return false;
}

static bool get_size(napi_env env, napi_value value, int64_t *size)
{
	if (napi_get_value_int64(env, value, size) == napi_ok && *size >= 0)
		return true;
	napi_throw_type_error(env, "EINVAL", "not an offset or a length");
	return false;
}

/* punchHole(fd, offset, length): the range takes no space and reads as zeros. */
static napi_value punch_hole(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int64_t fd, offset, length;
	int result;

	if (!get_arguments(env, info, 3, argv) || !get_size(env, argv[0], &fd) ||
	    !get_size(env, argv[1], &offset) || !get_size(env, argv[2], &length))
		return NULL;
	do {
		result = fallocate((int)fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
	} while (result < 0 && errno == EINTR);
	if (result < 0)
		throw_errno(env, errno, "fallocate");
	return NULL;
}

static void free_buffer(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	free(data);
}

/* alignedBuffer(length): a zeroed ArrayBuffer on a page boundary. */
static napi_value aligned_buffer(napi_env env, napi_callback_info info)
{
	napi_value argv[1], buffer;
	int64_t length;
	void *data;

	if (!get_arguments(env, info, 1, argv) || !get_size(env, argv[0], &length))
		return NULL;
	if (length == 0 || length > LARGEST_BUFFER || length % PAGE != 0) {
		napi_throw_range_error(env, "EINVAL", "not whole pages, or too many");
		return NULL;
	}
	data = aligned_alloc(PAGE, (size_t)length);
	if (!data) {
		throw_errno(env, ENOMEM, "aligned_alloc");
		return NULL;
	}
	memset(data, 0, (size_t)length);
	if (napi_create_external_arraybuffer(env, data, (size_t)length, free_buffer, NULL, &buffer) == napi_ok)
		return buffer;
	free(data);
	throw_errno(env, ENOMEM, "ArrayBuffer");
	return NULL;
}

void tresor_file_register(napi_env env, napi_value exports)
{
	const napi_property_descriptor functions[] = {
		{ .utf8name = "punchHole", .method = punch_hole, .attributes = napi_enumerable },
		{ .utf8name = "alignedBuffer", .method = aligned_buffer, .attributes = napi_enumerable },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
