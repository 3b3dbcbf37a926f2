/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backing file needs and Node does not offer: work that may take as long
 * as the disk does, on the thread pool; locks and leases; memory for O_DIRECT.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

struct work {
	napi_async_work work;
	napi_deferred deferred;
	napi_ref bytes;		/* NULL: a hole is punched */
	const uint8_t *from;
	int fd;
	int64_t offset, length;
	int error;
	bool truncated;
};

/*
 * Nothing is written past the end of a regular file: it would come back between
 * its new end and the write as zeros, which decrypt to garbage. A file that is
 * cut off between the look and the write is extended by the write all the same.
 */
static void write_inside(struct work *work)
{
	struct stat stat;

	if (fstat(work->fd, &stat) != 0) {
		work->error = errno;
		return;
	}
	if (S_ISREG(stat.st_mode) && work->offset + work->length > stat.st_size) {
		work->truncated = true;
		work->error = EIO;
		return;
	}
	for (int64_t done = 0; done < work->length;) {
		const ssize_t put = pwrite(work->fd, work->from + done, (size_t)(work->length - done),
					   (off_t)(work->offset + done));

		if (put > 0)
			done += put;
		else if (put == 0 || errno != EINTR) {
			work->error = put == 0 ? EIO : errno;
			return;
		}
	}
}

static void work_execute(napi_env env, void *data)
{
	struct work *work = data;
	int result;

	(void)env;
	if (work->bytes) {
		write_inside(work);
		return;
	}
	do {
		result = fallocate(work->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, work->offset, work->length);
	} while (result < 0 && errno == EINTR);
	work->error = result < 0 ? errno : 0;
}

static void work_complete(napi_env env, napi_status state, void *data)
{
	struct work *work = data;
	napi_value code, message, error;
	const char *name;
	char text[128];

	if (state == napi_ok && work->error == 0) {
		napi_get_undefined(env, &error);
		napi_resolve_deferred(env, work->deferred, error);
	} else if (state == napi_ok) {
		name = strerrorname_np(work->error);
		if (work->truncated)
			snprintf(text, sizeof(text), "the file ends before byte %lld: it was truncated",
				 (long long)(work->offset + work->length));
		else
			snprintf(text, sizeof(text), "%s: %s", work->bytes ? "pwrite" : "fallocate",
				 strerrordesc_np(work->error));
		napi_create_string_utf8(env, name ? name : "EIO", NAPI_AUTO_LENGTH, &code);
		napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message);
		napi_create_error(env, code, message, &error);
		napi_reject_deferred(env, work->deferred, error);
	}
	if (work->bytes)
		napi_delete_reference(env, work->bytes);
	napi_delete_async_work(env, work->work);
	free(work);
}

static napi_value start_work(napi_env env, struct work work, napi_value bytes)
{
	struct work *started = malloc(sizeof(*started));
	napi_value name, promise;

	if (!started) {
		throw_errno(env, ENOMEM, "file work");
		return NULL;
	}
	*started = work;
	if (bytes)
		napi_create_reference(env, bytes, 1, &started->bytes);
	napi_create_string_utf8(env, "tresor file", NAPI_AUTO_LENGTH, &name);
	napi_create_promise(env, &started->deferred, &promise);
	napi_create_async_work(env, NULL, name, work_execute, work_complete, started, &started->work);
	napi_queue_async_work(env, started->work);
	return promise;
}

/* punchHole(fd, offset, length) -> Promise: the range takes no space and reads as zeros. */
static napi_value punch_hole(napi_env env, napi_callback_info info)
{
	struct work work = { 0 };
	napi_value argv[3];
	int64_t fd;

	if (!get_arguments(env, info, 3, argv) || !get_size(env, argv[0], &fd) ||
	    !get_size(env, argv[1], &work.offset) || !get_size(env, argv[2], &work.length))
		return NULL;
	work.fd = (int)fd;
	return start_work(env, work, NULL);
}

/* writeInside(fd, bytes, offset) -> Promise: all of it, or EIO when a regular file ends before. */
static napi_value js_write_inside(napi_env env, napi_callback_info info)
{
	struct work work = { 0 };
	napi_typedarray_type type;
	napi_value argv[3];
	size_t length;
	int64_t fd;
	void *data;

	if (!get_arguments(env, info, 3, argv) || !get_size(env, argv[0], &fd) ||
	    !get_size(env, argv[2], &work.offset))
		return NULL;
	if (napi_get_typedarray_info(env, argv[1], &type, &length, &data, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array) {
		napi_throw_type_error(env, "EINVAL", "not bytes");
		return NULL;
	}
	work.fd = (int)fd;
	work.from = data;
	work.length = (int64_t)length;
	return start_work(env, work, argv[1]);
}

/* claimByte(fd, at): a shared lock of this open file on one byte, as qemu takes them. Throws. */
static napi_value claim_byte(napi_env env, napi_callback_info info)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1 };
	napi_value argv[2];
	int64_t fd, at;

	if (!get_arguments(env, info, 2, argv) || !get_size(env, argv[0], &fd) || !get_size(env, argv[1], &at))
		return NULL;
	lock.l_start = at;
	if (fcntl((int)fd, F_OFD_SETLK, &lock) != 0)
		throw_errno(env, errno, "fcntl");
	return NULL;
}

/* byteClaimed(fd, at): whether another open file has a lock on the byte. Throws. */
static napi_value byte_claimed(napi_env env, napi_callback_info info)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	napi_value argv[2], result;
	int64_t fd, at;

	if (!get_arguments(env, info, 2, argv) || !get_size(env, argv[0], &fd) || !get_size(env, argv[1], &at))
		return NULL;
	lock.l_start = at;
	if (fcntl((int)fd, F_OFD_GETLK, &lock) != 0) {
		throw_errno(env, errno, "fcntl");
		return NULL;
	}
	napi_get_boolean(env, lock.l_type != F_UNLCK, &result);
	return result;
}

/*
 * hasWriter(fd): whether anybody has the regular file behind a descriptor, which
 * is open for reading only, open for writing: then no read lease is given. `null`:
 * there is no telling (not our file, or a filesystem without leases).
 */
static napi_value has_writer(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result = NULL;
	int64_t fd;

	if (!get_arguments(env, info, 1, argv) || !get_size(env, argv[0], &fd))
		return NULL;
	if (fcntl((int)fd, F_SETLEASE, F_RDLCK) == 0) {
		fcntl((int)fd, F_SETLEASE, F_UNLCK);
		napi_get_boolean(env, false, &result);
	} else if (errno == EAGAIN) {
		napi_get_boolean(env, true, &result);
	} else {
		napi_get_null(env, &result);
	}
	return result;
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
		{ .utf8name = "writeInside", .method = js_write_inside, .attributes = napi_enumerable },
		{ .utf8name = "claimByte", .method = claim_byte, .attributes = napi_enumerable },
		{ .utf8name = "byteClaimed", .method = byte_claimed, .attributes = napi_enumerable },
		{ .utf8name = "hasWriter", .method = has_writer, .attributes = napi_enumerable },
		{ .utf8name = "alignedBuffer", .method = aligned_buffer, .attributes = napi_enumerable },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
