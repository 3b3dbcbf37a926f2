/* SPDX-License-Identifier: Apache-2.0 */
/* A key that comes and goes while threads use it. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "addon/disk/key.h"
#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_enclave.h"
#include "addon/test/disk/store.h"

static struct tresor_range range_of(const uint8_t *in, uint8_t *out)
{
	return (struct tresor_range){ .in = (uintptr_t)in, .out = (uintptr_t)out, .sector = 8, .length = 512 };
}

static void statuses(void)
{
	static const struct {
		uint32_t status;
		int error;
	} answers[] = {
		{ TRESOR_OK, 0 },	   { TRESOR_E_HANDLE, ENOKEY },
		{ TRESOR_E_DEAD, ENOKEY }, { TRESOR_ENTER_LOST, EOWNERDEAD },
		{ TRESOR_E_REQUEST, EIO }, { TRESOR_E_STATE, EIO },
		{ 0x7fff, EIO },
	};
	struct volume_key *key = volume_key_new();
	struct tresor_enclave *enclave = fake_enclave_new(5, 512);
	uint8_t *memory = pages(4096);
	const struct tresor_range range = range_of(memory, memory + 512);

	CHECK_EQUAL(volume_key_crypt(key, true, &range, 1), ENOKEY);
	volume_key_set(key, enclave, 5);
	for (unsigned i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		check_run("status %u", answers[i].status);
		fake_enclave_plan(enclave, 0, answers[i].status, 0);
		CHECK_EQUAL(volume_key_crypt(key, i % 2, &range, 1), answers[i].error);
		CHECK_EQUAL(fake_enclave_entries(enclave), 1);
	}
	/* It was lost before: not while it was at it, so nothing was done. */
	fake_enclave_plan(enclave, 0, TRESOR_OK, 0);
	fake_enclave_kill(enclave);
	CHECK_EQUAL(volume_key_crypt(key, true, &range, 1), ENOKEY);
	CHECK_EQUAL(fake_enclave_entries(enclave), 0);
	/* A handle that was closed. */
	fake_enclave_plan(enclave, 0, TRESOR_OK, 0);
	volume_key_set(key, enclave, 6);
	CHECK_EQUAL(volume_key_crypt(key, true, &range, 1), ENOKEY);
	volume_key_clear(key);
	CHECK_EQUAL(volume_key_crypt(key, true, &range, 1), ENOKEY);
	CHECK_EQUAL(fake_enclave_entries(enclave), 1);
	tresor_enclave_unref(enclave);
	volume_key_unref(key);
	free(memory);
	CHECK_EQUAL(fake_enclaves_alive(), 0);
}

static void references(void)
{
	struct tresor_enclave *first = fake_enclave_new(1, 512), *second = fake_enclave_new(2, 512);
	struct volume_key *key = volume_key_new();

	volume_key_set(key, first, 1);
	CHECK_EQUAL(fake_enclave_references(first), 2);
	volume_key_set(key, first, 1);
	CHECK_EQUAL(fake_enclave_references(first), 2);
	volume_key_set(key, second, 2);
	CHECK_EQUAL(fake_enclave_references(first), 1);
	volume_key_clear(key);
	volume_key_clear(key);
	CHECK_EQUAL(fake_enclave_references(second), 1);
	volume_key_set(key, first, 1);
	CHECK(volume_key_ref(key) == key);
	volume_key_unref(key);
	CHECK_EQUAL(fake_enclave_references(first), 2);
	volume_key_unref(key);
	CHECK_EQUAL(fake_enclave_references(first), 1);
	tresor_enclave_unref(first);
	tresor_enclave_unref(second);
	CHECK_EQUAL(fake_enclaves_alive(), 0);
}

struct user {
	struct volume_key *key;
	bool *stop;
	unsigned done, without;
};

static void *use(void *argument)
{
	struct user *user = argument;
	uint8_t *memory = pages(4096);
	const struct tresor_range there = range_of(memory, memory + 512), back = range_of(memory + 512, memory + 1024);

	memset(memory, 0x33, 512);
	while (!__atomic_load_n(user->stop, __ATOMIC_RELAXED)) {
		int error = volume_key_crypt(user->key, false, &there, 1);

		if (error == 0)
			error = volume_key_crypt(user->key, true, &back, 1);
		CHECK(error == 0 || error == ENOKEY);
		CHECK(error != 0 || memcmp(memory, memory + 1024, 512) == 0);
		user->done += error == 0;
		user->without += error != 0;
	}
	free(memory);
	return NULL;
}

static void threads(void)
{
	struct volume_key *key = volume_key_new();
	bool stop = false;
	struct user users[3] = { 0 };
	pthread_t ids[3];
	unsigned done = 0, without = 0;

	for (unsigned i = 0; i < 3; i++) {
		users[i] = (struct user){ .key = volume_key_ref(key), .stop = &stop };
		CHECK(pthread_create(&ids[i], NULL, use, &users[i]) == 0);
	}
	for (unsigned round = 0; round < 200; round++) {
		struct tresor_enclave *enclave = fake_enclave_new(round, 512);

		volume_key_set(key, enclave, round);
		tresor_enclave_unref(enclave);
		usleep(500);
		volume_key_clear(key);
		usleep(100);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(ids[i], NULL);
		volume_key_unref(key);
		done += users[i].done;
		without += users[i].without;
	}
	CHECK(done > 0 && without > 0);
	volume_key_unref(key);
	CHECK_EQUAL(fake_enclaves_alive(), 0);
}

const struct test_case key_cases[] = {
	{ "what the enclave answers becomes ENOKEY, EOWNERDEAD or EIO", statuses },
	{ "a key holds one reference to its enclave", references },
	{ "a key is set and cleared while threads use it", threads },
	{ NULL, NULL },
};
