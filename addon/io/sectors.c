/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sectors between a file and memory, through the enclave: one call and
 * one entry for a batch, on this thread, as long as that does not wait for a disk.
 *
 *   createSectors(enclave, handle, fd) -> Sectors	fd stays the caller's
 *   sectors.read(buffer, table, rows)
 *   sectors.write(buffer, table, rows)
 *   sectors.writing() -> boolean
 *
 * A row of the Float64Array is (offset in the file, 512-byte sector number of
 * the volume, at in the buffer, length, from, result). `at` is 8-byte aligned;
 * ciphertext is there, after a read plaintext. A write takes the plaintext from
 * `from` and leaves it untouched; its `at` is in the memory of a writer, which
 * WRITER_MEMORY bounds. `result` becomes 0 or an errno; EAGAIN marks a row that would
 * wait; EINPROGRESS marks all rows of a write that is late (writer.h): until
 * sectors.writing() is false, nobody else may write there. Both return 0, or the status
 * of an entry that failed (no row is valid then), TRESOR_ENTER_LOST included.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "abi/enclave.h"
#include "addon/addon.h"
#include "addon/disk/disk.h"
#include "addon/io/slab.h"
#include "addon/io/writer.h"
#include "addon/napi/values.h"
#include "addon/sgx/enclave_binding.h"

enum { OFFSET, SECTOR, AT, LENGTH, FROM, RESULT, COLUMNS };
#define RUN	64u	/* rows in one system call */

struct sectors {
	struct tresor_enclave *enclave;
	uint32_t handle;
	int fd;
	struct writer *writer;	/* NULL: none yet */
	struct disk_look look;
};

struct call {
	struct sectors *sectors;
	struct slab slab;
	double *table;
	uint32_t rows;
	napi_value arguments[3];
};

static bool begin(napi_env env, napi_callback_info info, struct call *call, bool writes)
{
	const struct slab written = { .size = WRITER_MEMORY };
	size_t count = 3;
	napi_value self;
	void *memory;

	napi_get_cb_info(env, info, &count, call->arguments, &self, NULL);
	if (count < 3 || napi_unwrap(env, self, (void **)&call->sectors) != napi_ok ||
	    napi_get_arraybuffer_info(env, call->arguments[0], &memory, &call->slab.size) != napi_ok ||
	    napi_get_value_uint32(env, call->arguments[2], &call->rows) != napi_ok || call->rows == 0 ||
	    call->rows > TRESOR_RANGES)
		goto refuse;
	call->slab.memory = memory;
	call->table = slab_table(env, call->arguments[1], call->rows, COLUMNS);
	if (!call->table)
		goto refuse;
	for (uint32_t row = 0; row < call->rows; row++) {
		const double *fields = call->table + row * COLUMNS;

		if (!slab_holds(writes ? &written : &call->slab, fields[AT], fields[LENGTH]) ||
		    !slab_holds(&call->slab, fields[FROM], fields[LENGTH]) || (uint64_t)fields[AT] % 8 != 0)
			goto refuse;
	}
	return true;
refuse:
	napi_throw_type_error(env, NULL, "not a batch of sectors");
	return false;
}

/*
 * Rows with a result are left out. `decrypt`: in place; else from `from` to the writer's memory, by way of it where that is
 * not aligned.
 */
static uint32_t enter(struct call *call, bool decrypt)
{
	uint8_t *memory = decrypt ? call->slab.memory : writer_memory(call->sectors->writer);
	struct tresor_range ranges[TRESOR_RANGES];
	struct tresor_sectors request = {
		.head = { .op = TRESOR_OP_SECTORS, .size = sizeof(request) },
		.handle = call->sectors->handle,
		.decrypt = decrypt,
		.ranges = (uintptr_t)ranges,
	};

	for (uint32_t row = 0; row < call->rows; row++) {
		const double *fields = call->table + row * COLUMNS;
		uint8_t *at = memory + (size_t)fields[AT];
		uint8_t *in = decrypt ? at : call->slab.memory + (size_t)fields[FROM];

		if (fields[RESULT] != 0)
			continue;
		if ((uintptr_t)in % 8 != 0) {
			memcpy(at, in, (size_t)fields[LENGTH]);
			in = at;
		}
		ranges[request.count++] = (struct tresor_range){
			.in = (uintptr_t)in,
			.out = (uintptr_t)at,
			.sector = (uint64_t)fields[SECTOR],
			.length = (uint32_t)fields[LENGTH],
		};
	}
	return request.count == 0 ? TRESOR_OK : tresor_enclave_enter(call->sectors->enclave, &request);
}

/* Gathers the rows from `first` that follow each other in the file. Returns how many; *total: their bytes. */
static uint32_t gather(const struct call *call, uint32_t first, struct iovec iov[RUN], size_t *total)
{
	uint32_t count = 0;

	for (*total = 0; count < RUN && first + count < call->rows; count++) {
		const double *fields = call->table + (first + count) * COLUMNS;

		if (count > 0 && fields[OFFSET] != call->table[first * COLUMNS + OFFSET] + (double)*total)
			break;
		iov[count] = (struct iovec){ call->slab.memory + (size_t)fields[AT], (size_t)fields[LENGTH] };
		*total += iov[count].iov_len;
	}
	return count;
}

static void set_results(struct call *call, uint32_t first, uint32_t count, int result)
{
	for (uint32_t row = first; row < first + count; row++)
		call->table[row * COLUMNS + RESULT] = result;
}

static napi_value number(napi_env env, double value)
{
	napi_value result;

	napi_create_double(env, value, &result);
	return result;
}

static napi_value sectors_read(napi_env env, napi_callback_info info)
{
	struct iovec iov[RUN];
	struct call call;
	size_t total;

	if (!begin(env, info, &call, false))
		return NULL;
	for (uint32_t row = 0, count; row < call.rows; row += count) {
		ssize_t got;

		count = gather(&call, row, iov, &total);
		if (disk_look(&call.sectors->look, call.sectors->fd, (uint64_t)call.table[row * COLUMNS + OFFSET],
			      total) == DISK_UNCACHED) {
			disk_missed(&call.sectors->look);
			set_results(&call, row, count, EAGAIN);
			continue;
		}
		do {
			got = preadv2(call.sectors->fd, iov, (int)count, (off_t)call.table[row * COLUMNS + OFFSET],
				      RWF_NOWAIT);
		} while (got < 0 && errno == EINTR);
		set_results(&call, row, count, got >= 0 || errno == EOPNOTSUPP ? EAGAIN : errno);
		if (got < (ssize_t)total)
			disk_missed(&call.sectors->look);
		/* Short: the rest is not cached, or past the end; who may wait finds out. */
		for (uint32_t i = 0; i < count && got >= (ssize_t)iov[i].iov_len; i++) {
			got -= (ssize_t)iov[i].iov_len;
			set_results(&call, row + i, 1, 0);
		}
	}
	return number(env, enter(&call, true));
}

/* False: not now, and without a thread not at all. */
static bool can_write(struct sectors *sectors)
{
	if (sectors->writer == NULL)
		sectors->writer = writer_open(sectors->fd);
	return sectors->writer != NULL && writer_ready(sectors->writer);
}

static napi_value sectors_write(napi_env env, napi_callback_info info)
{
	struct writer_row *rows;
	struct call call;
	uint32_t status;

	if (!begin(env, info, &call, true))
		return NULL;
	if (!can_write(call.sectors)) {
		set_results(&call, 0, call.rows, EAGAIN);
		return number(env, TRESOR_OK);
	}
	set_results(&call, 0, call.rows, 0);
	status = enter(&call, false);
	if (status != TRESOR_OK) {
		/* Plaintext that was not aligned. */
		explicit_bzero(writer_memory(call.sectors->writer), WRITER_MEMORY);
		return number(env, status);
	}
	rows = writer_rows(call.sectors->writer);
	for (uint32_t row = 0; row < call.rows; row++) {
		const double *fields = call.table + row * COLUMNS;

		rows[row] = (struct writer_row){
			.offset = (uint64_t)fields[OFFSET],
			.at = (uint32_t)fields[AT],
			.length = (uint32_t)fields[LENGTH],
		};
	}
	if (!writer_write(call.sectors->writer, call.rows)) {
		set_results(&call, 0, call.rows, EINPROGRESS);
		return number(env, TRESOR_OK);
	}
	for (uint32_t row = 0; row < call.rows; row++)
		set_results(&call, row, 1, rows[row].result);
	return number(env, TRESOR_OK);
}

static napi_value sectors_writing(napi_env env, napi_callback_info info)
{
	struct sectors *sectors = NULL;
	napi_value self, writing;

	if (!js_arguments(env, info, 0, NULL, &self) || napi_unwrap(env, self, (void **)&sectors) != napi_ok)
		return js_throw_arguments(env, "sectors");
	napi_get_boolean(env, sectors->writer != NULL && writer_busy(sectors->writer), &writing);
	return writing;
}

static void sectors_finalize(napi_env env, void *data, void *hint)
{
	struct sectors *sectors = data;

	(void)env;
	(void)hint;
	if (sectors->writer != NULL)
		writer_close(sectors->writer);
	tresor_enclave_unref(sectors->enclave);
	free(sectors);
}

static napi_value create_sectors(napi_env env, napi_callback_info info)
{
	static const napi_property_descriptor methods[] = {
		{ "read", NULL, sectors_read, NULL, NULL, NULL, napi_default, NULL },
		{ "write", NULL, sectors_write, NULL, NULL, NULL, napi_default, NULL },
		{ "writing", NULL, sectors_writing, NULL, NULL, NULL, napi_default, NULL },
	};
	struct tresor_enclave *enclave;
	napi_value arguments[3], object;
	struct sectors *sectors;
	uint32_t handle;
	size_t count = 3;
	int32_t fd;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	enclave = count == 3 ? tresor_enclave_unwrap(env, arguments[0]) : NULL;
	if (!enclave || napi_get_value_uint32(env, arguments[1], &handle) != napi_ok ||
	    napi_get_value_int32(env, arguments[2], &fd) != napi_ok) {
		napi_throw_type_error(env, NULL, "createSectors(enclave, handle, fd)");
		return NULL;
	}
	sectors = malloc(sizeof(*sectors));
	if (!sectors) {
		napi_throw_error(env, "ENOMEM", "out of memory");
		return NULL;
	}
	*sectors = (struct sectors){ .enclave = tresor_enclave_ref(enclave), .handle = handle, .fd = fd };
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_wrap(env, object, sectors, sectors_finalize, NULL, NULL);
	return object;
}

void tresor_sectors_register(napi_env env, napi_value exports)
{
	napi_value function;

	napi_create_function(env, "createSectors", NAPI_AUTO_LENGTH, create_sectors, NULL, &function);
	napi_set_named_property(env, exports, "createSectors", function);
}
