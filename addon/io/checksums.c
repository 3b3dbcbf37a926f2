/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of each block of a range, off JavaScript's thread, one call for many blocks: two at a time where the CPU has
 * SHA-NI, else by Node's OpenSSL.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <stdlib.h>

#include "addon/addon.h"
#include "addon/napi/values.h"
#include "addon/napi/work.h"
#include "addon/sgx/sha256.h"

#define CHECKSUM 32u

struct checksums {
	struct js_work work;
	const uint8_t *bytes;
	size_t size, block, count;
	bool failed;
	uint8_t sums[][CHECKSUM];
};

static struct checksums *checksums_of(struct js_work *work)
{
	return (struct checksums *)((char *)work - offsetof(struct checksums, work));
}

/* How many blocks are done: whole ones, two by two. */
static size_t run_pairs(struct checksums *job)
{
	size_t done = 0;

	if (job->block % 64 != 0)
		return 0;
	for (const size_t whole = job->size / job->block; done + 2 <= whole; done += 2) {
		const uint8_t *const first = job->bytes + done * job->block;
		const uint8_t *const pair[2] = { first, first + job->block };

		if (!tresor_sha256_pair(pair, job->block, job->sums + done))
			break;
	}
	return done;
}

static void run(struct js_work *work)
{
	struct checksums *job = checksums_of(work);
	const size_t done = run_pairs(job);
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);

	job->failed = !hash || !sha256;
	for (size_t i = done; !job->failed && i < job->count; i++) {
		const size_t at = i * job->block, left = job->size - at;

		job->failed = EVP_DigestInit_ex2(hash, sha256, NULL) != 1 ||
			      EVP_DigestUpdate(hash, job->bytes + at, left < job->block ? left : job->block) != 1 ||
			      EVP_DigestFinal_ex(hash, job->sums[i], NULL) != 1;
	}
	EVP_MD_free(sha256);
	EVP_MD_CTX_free(hash);
}

static napi_value answer(napi_env env, struct js_work *work, napi_value *error)
{
	const struct checksums *job = checksums_of(work);

	if (!job->failed)
		return js_bytes(env, job->sums[0], job->count * CHECKSUM);
	*error = js_error(env, "EIO", "SHA-256 failed");
	return NULL;
}

static void forget(struct js_work *work)
{
	free(checksums_of(work));
}

/* checksums(bytes, block) -> Promise of 32 bytes for each block; the last one may be shorter. */
static napi_value checksums(napi_env env, napi_callback_info info)
{
	struct checksums *job;
	napi_value argv[2];
	uint32_t block;
	uint8_t *bytes;
	size_t size, count;

	if (!js_arguments(env, info, 2, argv, NULL) || !js_get_bytes(env, argv[0], &bytes, &size) ||
	    !js_get_uint32(env, argv[1], &block) || block == 0 || size == 0)
		return js_throw_arguments(env, "checksums");
	count = (size + block - 1) / block;
	job = calloc(1, sizeof(*job) + count * CHECKSUM);
	if (!job)
		return js_throw_errno(env, ENOMEM, "checksums: out of memory");
	job->bytes = bytes;
	job->size = size;
	job->block = block;
	job->count = count;
	job->work = (struct js_work){ .run = run, .answer = answer, .forget = forget };
	return js_start(env, &job->work, "tresor checksums", argv[0]);
}

void tresor_checksums_register(napi_env env, napi_value exports)
{
	napi_value function;

	napi_create_function(env, "checksums", NAPI_AUTO_LENGTH, checksums, NULL, &function);
	napi_set_named_property(env, exports, "checksums", function);
}
