/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second daemon for /dev/tresor/control: AES from OpenSSL, keys given openly. An
 * independent peer for the module's tests and benchmarks, never a product.
 *
 *   ringd [--queues N] [--depth N] [--key HANDLEHEX:KEYHEX]... [--raw] [--copy] [--delay MS]
 *         [--unchecked] [--lose] [--child]
 *
 * --raw attaches as the legacy daemon and takes whatever setkey delivers as the
 * AES key itself; --copy does no cryptography; --delay sleeps before each batch.
 * Faults on purpose: --unchecked adds its handles with a check value of zeros, --lose
 * forgets the first slot it is given, --child leaves a child that has the file open.
 * Prints "ready" when requests can come. SIGTERM ends it in order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "abi/kmod.h"

#define KEYS	4096
#define BATCH_BYTES	(64 * 1024)

struct key {
	bool live;
	unsigned size;
	unsigned char bytes[TRESOR_BYTES_MAX];
};

static struct key keys[KEYS];
static int device;
static unsigned queues = 1, depth = 256, delay_ms;
static bool copy_only, raw, unchecked, lose, child;

static void die(const char *what)
{
	fprintf(stderr, "ringd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const EVP_CIPHER *ecb(unsigned size)
{
	return size == 16 ? EVP_aes_128_ecb() : size == 24 ? EVP_aes_192_ecb() : EVP_aes_256_ecb();
}

/* One operation on a fresh context; returns false when OpenSSL refuses. */
static bool run(const EVP_CIPHER *cipher, const unsigned char *key, const unsigned char *iv, unsigned char *data,
		int length, bool decrypt)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int out;
	bool ok = context && EVP_CipherInit_ex(context, cipher, NULL, key, iv, !decrypt) &&
		  EVP_CIPHER_CTX_set_padding(context, 0) && EVP_CipherUpdate(context, data, &out, data, length) &&
		  out == length;

	EVP_CIPHER_CTX_free(context);
	return ok;
}

/* GF(2^128) of IEEE 1619, little endian. */
static void twice(unsigned char t[16])
{
	unsigned carry = 0;

	for (int i = 0; i < 16; i++) {
		unsigned v = (unsigned)t[i] << 1 | carry;

		t[i] = (unsigned char)v;
		carry = v >> 8;
	}
	if (carry)
		t[0] ^= 0x87;
}

static bool xts_continued(const struct key *key, const struct tresor_descriptor *d, unsigned char *data,
			  unsigned char tweak[16])
{
	unsigned char mask[TRESOR_SLOT_SIZE];
	unsigned half = key->size / 2;

	for (unsigned at = 0; at < d->length; at += 16, twice(tweak))
		memcpy(mask + at, tweak, 16);
	for (unsigned i = 0; i < d->length; i++)
		data[i] ^= mask[i];
	if (!run(ecb(half), key->bytes, NULL, data, (int)d->length, d->decrypt))
		return false;
	for (unsigned i = 0; i < d->length; i++)
		data[i] ^= mask[i];
	return true;
}

static bool xts(const struct key *key, const struct tresor_descriptor *d, unsigned char *data, unsigned char iv[16])
{
	unsigned half = key->size / 2;

	if (key->size != 32 && key->size != 64)
		return false;
	if (d->flags & TRESOR_PART_CONTINUED)
		return xts_continued(key, d, data, iv);
	if (!run(half == 16 ? EVP_aes_128_xts() : EVP_aes_256_xts(), key->bytes, iv, data, (int)d->length, d->decrypt))
		return false;
	/* Only a whole slot can be followed by another part. */
	if (d->length == TRESOR_SLOT_SIZE) {
		run(ecb(half), key->bytes + half, NULL, iv, 16, false);
		for (unsigned at = 0; at < d->length; at += 16)
			twice(iv);
	}
	return true;
}

static bool cbc(const struct key *key, const struct tresor_descriptor *d, unsigned char *data, unsigned char iv[16])
{
	const EVP_CIPHER *cipher = key->size == 16 ? EVP_aes_128_cbc() :
				   key->size == 24 ? EVP_aes_192_cbc() :
						     EVP_aes_256_cbc();
	unsigned char last[16];
	bool ok;

	memcpy(last, data + d->length - 16, 16);
	ok = run(cipher, key->bytes, iv, data, (int)d->length, d->decrypt);
	memcpy(iv, d->decrypt ? last : data + d->length - 16, 16);
	return ok;
}

static bool ctr(const struct key *key, const struct tresor_descriptor *d, unsigned char *data, unsigned char iv[16])
{
	const EVP_CIPHER *cipher = key->size == 16 ? EVP_aes_128_ctr() :
				   key->size == 24 ? EVP_aes_192_ctr() :
						     EVP_aes_256_ctr();

	if (!run(cipher, key->bytes, iv, data, (int)d->length, false))
		return false;
	for (unsigned n = d->length / 16; n; n--)
		for (int i = 15; i >= 0 && !++iv[i]; i--)
			;
	return true;
}

static bool essiv(const struct key *key, const struct tresor_descriptor *d, unsigned char *data, unsigned char iv[16])
{
	unsigned char salt[32];

	if (!(d->flags & TRESOR_PART_CONTINUED)) {
		SHA256(key->bytes, key->size, salt);
		if (!run(EVP_aes_256_ecb(), salt, NULL, iv, 16, false))
			return false;
	}
	return cbc(key, d, data, iv);
}

static int work(const struct tresor_descriptor *d, unsigned char *data, unsigned char iv[16])
{
	const struct key *key = &keys[d->cookie % KEYS];
	bool ok = false;

	memcpy(iv, d->iv, 16);
	if (copy_only)
		return 0;
	if (!key->live)
		return -ENOKEY;
	switch (d->mode) {
	case TRESOR_KMODE_XTS:
		ok = xts(key, d, data, iv);
		break;
	case TRESOR_KMODE_CBC:
		ok = cbc(key, d, data, iv);
		break;
	case TRESOR_KMODE_CTR:
		ok = ctr(key, d, data, iv);
		break;
	case TRESOR_KMODE_ECB:
		ok = run(ecb(key->size), key->bytes, NULL, data, (int)d->length, d->decrypt);
		break;
	case TRESOR_KMODE_CBC_ESSIV:
		ok = essiv(key, d, data, iv);
		break;
	}
	return ok ? 0 : -EIO;
}

/* Tells one key from another; the sizes keep a key and its prefix apart. */
static void check_value(const struct key *key, unsigned char check[TRESOR_CHECK_SIZE])
{
	unsigned char block[2][16] = { { 0 }, { 0 } };
	unsigned half = key->size >= 32 ? key->size / 2 : key->size;

	memset(check, 0, TRESOR_CHECK_SIZE);
	if (unchecked)
		return;
	block[0][0] = block[1][0] = (unsigned char)key->size;
	run(ecb(half), key->bytes, NULL, block[0], 16, false);
	run(ecb(half), key->bytes + key->size - half, NULL, block[1], 16, false);
	SHA256(block[0], sizeof(block), check);
}

static void *serve(void *argument)
{
	unsigned queue = (unsigned)(size_t)argument;
	size_t head_size = (TRESOR_DESCRIPTORS_OFFSET + depth * sizeof(struct tresor_descriptor) + 4095) & ~4095ul;
	unsigned char *head =
		mmap(NULL, head_size, PROT_READ, MAP_SHARED, device, (off_t)TRESOR_MMAP_DESCRIPTORS(queue));
	unsigned char *data = mmap(NULL, (size_t)depth * TRESOR_SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, device,
				   (off_t)TRESOR_MMAP_DATA(queue));
	const struct tresor_descriptor *descriptors = (const void *)(head + TRESOR_DESCRIPTORS_OFFSET);
	struct tresor_result results[TRESOR_BATCH_MAX] = { 0 };
	unsigned short slots[TRESOR_BATCH_MAX];
	unsigned done = 0;

	if (head == MAP_FAILED || data == MAP_FAILED)
		die("mmap");
	for (;;) {
		struct tresor_exchange x = {
			.queue = queue,
			.results = (size_t)results,
			.slots = (size_t)slots,
			.commit = done,
			.fetch = TRESOR_BATCH_MAX,
			.bytes = BATCH_BYTES,
		};

		if (ioctl(device, TRESOR_IOC_EXCHANGE, &x)) {
			if (errno == ESHUTDOWN)
				return NULL;
			if (errno != EINTR)
				die("exchange");
		}
		if (delay_ms && x.fetch)
			usleep(delay_ms * 1000);
		if (lose && x.fetch) {
			lose = false;
			memmove(slots, slots + 1, --x.fetch * sizeof(*slots));
		}
		for (done = 0; done < x.fetch; done++) {
			unsigned slot = slots[done];

			results[done].slot = (unsigned short)slot;
			results[done].status =
				work(&descriptors[slot], data + (size_t)slot * TRESOR_SLOT_SIZE, results[done].iv);
		}
	}
}

static void *take_keys(void *unused)
{
	static unsigned last = KEYS / 2;
	struct tresor_event event;

	for (;;) {
		if (ioctl(device, TRESOR_IOC_EVENT, &event)) {
			if (errno == ESHUTDOWN)
				return unused;
			if (errno != EINTR)
				die("event");
			continue;
		}
		if (event.type == TRESOR_EVENT_FORGET) {
			keys[event.cookie].live = false;
			continue;
		}
		struct tresor_answer answer = { .id = event.id, .status = event.flags ? -ENOKEY : 0 };

		for (unsigned i = 0; i < KEYS / 2 && keys[last].live; i++)
			last = last + 1 < KEYS ? last + 1 : KEYS / 2;
		keys[last].size = event.size;
		memcpy(keys[last].bytes, event.bytes, event.size);
		keys[last].live = !event.flags;
		check_value(&keys[last], answer.check);
		answer.cookie = last;
		last = last + 1 < KEYS ? last + 1 : KEYS / 2;
		if (ioctl(device, TRESOR_IOC_ANSWER, &answer))
			keys[answer.cookie].live = false;
	}
}

static unsigned from_hex(const char *text, size_t length, unsigned char *to, unsigned max)
{
	unsigned n = 0;

	for (; n < max && 2 * n + 1 < length; n++)
		if (sscanf(text + 2 * n, "%2hhx", &to[n]) != 1)
			break;
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "queues", 1, 0, 'q' },    { "depth", 1, 0, 'd' },
		{ "key", 1, 0, 'k' },	    { "raw", 0, 0, 'r' },
		{ "copy", 0, 0, 'c' },	    { "delay", 1, 0, 'w' },
		{ "unchecked", 0, 0, 'u' }, { "lose", 0, 0, 'l' },
		{ "child", 0, 0, 'f' },	    { 0 },
	};
	struct tresor_key_handle handles[64] = { 0 };
	unsigned count = 0;
	int option, signal;
	sigset_t wanted;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const char *colon;

		switch (option) {
		case 'q':
			queues = (unsigned)atoi(optarg);
			break;
		case 'd':
			depth = (unsigned)atoi(optarg);
			break;
		case 'w':
			delay_ms = (unsigned)atoi(optarg);
			break;
		case 'r':
			raw = true;
			break;
		case 'c':
			copy_only = true;
			break;
		case 'u':
			unchecked = true;
			break;
		case 'l':
			lose = true;
			break;
		case 'f':
			child = true;
			break;
		case 'k':
			colon = strchr(optarg, ':');
			if (!colon || count == 64 ||
			    from_hex(optarg, (size_t)(colon - optarg), handles[count].handle, 32) != 32)
				exit(1);
			handles[count].cookie = count;
			keys[count].size = from_hex(colon + 1, strlen(colon + 1), keys[count].bytes, TRESOR_BYTES_MAX);
			keys[count++].live = true;
			break;
		default:
			exit(1);
		}
	}
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	pthread_sigmask(SIG_BLOCK, &wanted, NULL);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);

	device = open(TRESOR_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		die(TRESOR_DEVICE);
	struct tresor_attach attach = {
		.version = TRESOR_KMOD_VERSION,
		.queues = queues,
		.depth = depth,
		.flags = raw ? TRESOR_ATTACH_LEGACY : 0,
	};
	if (ioctl(device, TRESOR_IOC_ATTACH, &attach))
		die("attach");
	pthread_t thread;

	for (size_t i = 0; i < queues; i++)
		if (pthread_create(&thread, NULL, serve, (void *)i))
			die("thread");
	if (raw && pthread_create(&thread, NULL, take_keys, NULL))
		die("thread");
	for (unsigned i = 0; i < count; i++) {
		check_value(&keys[i], handles[i].check);
		if (ioctl(device, TRESOR_IOC_ADD, &handles[i]))
			die("add");
	}
	if (child && fork() == 0) {
		close(STDOUT_FILENO);
		sleep(60);
		_exit(0);
	}
	puts("ready");
	fflush(stdout);
	sigwait(&wanted, &signal);
	for (unsigned i = 0; i < count; i++)
		ioctl(device, TRESOR_IOC_DROP, &handles[i]);
	ioctl(device, TRESOR_IOC_STOP);
	return 0;
}
