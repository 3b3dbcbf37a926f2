// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the ciphers from kernel space, against a daemon that takes setkey's
 * bytes as the AES key itself; with opaque=1 against one that derives the key,
 * whose long requests are compared with short ones. Runs at load: the module loads when everything
 * passed, or with stay=1. Lines in the log; the sum in
 * /sys/module/tresor_test/parameters/result.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <crypto/skcipher.h>
#include <linux/completion.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

static bool stay;
module_param(stay, bool, 0444);
MODULE_PARM_DESC(stay, "stay loaded though a test failed");

static bool opaque;
module_param(opaque, bool, 0444);
MODULE_PARM_DESC(opaque, "the daemon derives its keys: compare its answers with one another");

static char result[48] = "not run";
module_param_string(result, result, sizeof(result), 0444);
MODULE_PARM_DESC(result, "how many passed and failed");

static unsigned int passed, failed;

#define CONCURRENT	64
#define FLOOD		2048
#define LONGEST		20000u

struct vector {
	const char *name;
	const char *source;
	const char *key;
	const char *iv;
	const char *plain;
	const char *cipher;
};

#define SP800_38A								\
	"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"	\
	"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
#define KEY128 "2b7e151628aed2a6abf7158809cf4f3c"
#define KEY192 "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"
#define KEY256 "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
#define CBC_IV "000102030405060708090a0b0c0d0e0f"
#define CTR_IV "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"

static const struct vector vectors[] = {
	{ "ecb(tresor)", "SP 800-38A F.1.1", KEY128, "", SP800_38A,
	  "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
	  "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4" },
	{ "ecb(tresor)", "SP 800-38A F.1.3", KEY192, "", SP800_38A,
	  "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef"
	  "ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e" },
	{ "ecb(tresor)", "SP 800-38A F.1.5", KEY256, "", SP800_38A,
	  "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
	  "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7" },
	{ "cbc(tresor)", "SP 800-38A F.2.1", KEY128, CBC_IV, SP800_38A,
	  "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
	  "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7" },
	{ "cbc(tresor)", "SP 800-38A F.2.3", KEY192, CBC_IV, SP800_38A,
	  "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
	  "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd" },
	{ "cbc(tresor)", "SP 800-38A F.2.5", KEY256, CBC_IV, SP800_38A,
	  "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
	  "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b" },
	{ "ctr(tresor)", "SP 800-38A F.5.1", KEY128, CTR_IV, SP800_38A,
	  "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
	  "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee" },
	{ "ctr(tresor)", "SP 800-38A F.5.3", KEY192, CTR_IV, SP800_38A,
	  "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"
	  "1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050" },
	{ "ctr(tresor)", "SP 800-38A F.5.5", KEY256, CTR_IV, SP800_38A,
	  "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
	  "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6" },
	{ "xts(tresor)", "IEEE 1619 vector 2",
	  "1111111111111111111111111111111122222222222222222222222222222222",
	  "33333333330000000000000000000000",
	  "4444444444444444444444444444444444444444444444444444444444444444",
	  "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0" },
	{ "xts(tresor)", "IEEE 1619 vector 10, first 64 bytes",
	  "2718281828459045235360287471352662497757247093699959574966967627"
	  "3141592653589793238462643383279502884197169399375105820974944592",
	  "ff000000000000000000000000000000",
	  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	  "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
	  "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"
	  "5d31e276f8fe4a8d66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd" },
};

/* Ours, the kernel's own to compare with, and the key sizes of both. */
struct pair {
	const char *ours;
	const char *theirs;
	unsigned int sizes[3];
	bool any_length;
	bool compare_iv;
};

static const struct pair pairs[] = {
	{ "xts(tresor)", "xts(aes)", { 32, 64 }, false, false },
	{ "cbc(tresor)", "cbc(aes)", { 16, 24, 32 }, false, true },
	{ "ctr(tresor)", "ctr(aes)", { 16, 24, 32 }, true, true },
	{ "ecb(tresor)", "ecb(aes)", { 16, 24, 32 }, false, false },
	{ "essiv(cbc(tresor),sha256)", "essiv(cbc(aes),sha256)", { 16, 24, 32 }, false, false },
};

static void report(bool ok, const char *name, const char *what, unsigned int detail)
{
	if (ok)
		passed++;
	else
		failed++;
	pr_info("%s %u - %s: %s (%u)\n", ok ? "ok" : "not ok", passed + failed, name, what, detail);
}

static u8 digit(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* hex2bin() has moved between headers. */
static unsigned int unhex(u8 *to, const char *text)
{
	unsigned int size = strlen(text) / 2, i;

	for (i = 0; i < size; i++)
		to[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
	return size;
}

/* One request over given lists, waited for. */
static int run(struct crypto_skcipher *tfm, struct scatterlist *src, struct scatterlist *dst,
	       unsigned int length, u8 *iv, bool decrypt)
{
	struct skcipher_request *request = skcipher_request_alloc(tfm, GFP_KERNEL);
	DECLARE_CRYPTO_WAIT(wait);
	int ret;

	if (!request)
		return -ENOMEM;
	skcipher_request_set_callback(request, CRYPTO_TFM_REQ_MAY_BACKLOG, crypto_req_done, &wait);
	skcipher_request_set_crypt(request, src, dst, length, iv);
	ret = decrypt ? crypto_skcipher_decrypt(request) : crypto_skcipher_encrypt(request);
	ret = crypto_wait_req(ret, &wait);
	skcipher_request_free(request);
	return ret;
}

static int run_flat(struct crypto_skcipher *tfm, u8 *from, u8 *to, unsigned int length, u8 *iv,
		    bool decrypt)
{
	struct scatterlist src, dst;

	sg_init_one(&src, from, length);
	sg_init_one(&dst, to, length);
	return run(tfm, &src, from == to ? &src : &dst, length, iv, decrypt);
}

static void test_vector(const struct vector *vector, u8 *a, u8 *b)
{
	struct crypto_skcipher *tfm = crypto_alloc_skcipher(vector->name, 0, 0);
	u8 key[64], iv[16], want[64], plain[64];
	unsigned int size = unhex(want, vector->cipher);
	bool ok = false;

	if (IS_ERR(tfm))
		goto out;
	if (unhex(plain, vector->plain) != size ||
	    crypto_skcipher_setkey(tfm, key, unhex(key, vector->key)))
		goto free;

	/* Out of place, then back in place. */
	memcpy(a, plain, size);
	unhex(iv, vector->iv);
	if (run_flat(tfm, a, b, size, iv, false) || memcmp(b, want, size) || memcmp(a, plain, size))
		goto free;
	unhex(iv, vector->iv);
	ok = !run_flat(tfm, b, b, size, iv, true) && !memcmp(b, plain, size);
free:
	crypto_free_skcipher(tfm);
out:
	report(ok, vector->name, vector->source, size);
}

/* The same buffer as many small pieces, of lengths no cipher likes. */
static unsigned int fragment(struct scatterlist *list, unsigned int max, u8 *buffer,
			     unsigned int length)
{
	static const unsigned int pieces[] = { 1, 15, 17, 3, 500, 13, 4096, 31, 7 };
	unsigned int at = 0, n = 0, piece;

	sg_init_table(list, max);
	while (at < length) {
		piece = n + 1 == max ? length - at : min(pieces[n % ARRAY_SIZE(pieces)], length - at);
		sg_set_buf(&list[n++], buffer + at, piece);
		at += piece;
	}
	sg_mark_end(&list[n - 1]);
	return n;
}

static bool compare(struct crypto_skcipher *ours, struct crypto_skcipher *theirs,
		    const struct pair *pair, unsigned int length, u8 *plain, u8 *a, u8 *b)
{
	static struct scatterlist src[40], dst[40];
	u8 iv[16], iv_a[16], iv_b[16];

	get_random_bytes(plain, length);
	get_random_bytes(iv, sizeof(iv));
	memcpy(iv_a, iv, sizeof(iv));
	memcpy(iv_b, iv, sizeof(iv));
	fragment(src, ARRAY_SIZE(src), plain, length);
	fragment(dst, ARRAY_SIZE(dst) - 7, a, length);
	if (run(ours, src, dst, length, iv_a, false) ||
	    run_flat(theirs, plain, b, length, iv_b, false) || memcmp(a, b, length))
		return false;
	if (pair->compare_iv && length % 16 == 0 && memcmp(iv_a, iv_b, sizeof(iv)))
		return false;
	/* Back, in place. */
	memcpy(iv_a, iv, sizeof(iv));
	fragment(src, ARRAY_SIZE(src), a, length);
	return !run(ours, src, src, length, iv_a, true) && !memcmp(a, plain, length);
}

static void test_pair(const struct pair *pair, unsigned int key_size, u8 *plain, u8 *a, u8 *b)
{
	static const unsigned int lengths[] = { 16, 512, 4096, 4112, 8192, 12304, 17, 511, 19999 };
	struct crypto_skcipher *ours = crypto_alloc_skcipher(pair->ours, 0, 0);
	struct crypto_skcipher *theirs = crypto_alloc_skcipher(pair->theirs, 0, 0);
	u8 key[64];
	bool ok = false;
	int i;

	get_random_bytes(key, sizeof(key));
	if (IS_ERR(ours) || IS_ERR(theirs) || crypto_skcipher_setkey(ours, key, key_size) ||
	    crypto_skcipher_setkey(theirs, key, key_size))
		goto out;
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (lengths[i] % 16 == 0 || pair->any_length)
			ok = compare(ours, theirs, pair, lengths[i], plain, a, b);
		else
			ok = run_flat(ours, plain, a, lengths[i], key, false) == -EINVAL;
		if (!ok)
			break;
	}
out:
	if (!IS_ERR(ours))
		crypto_free_skcipher(ours);
	if (!IS_ERR(theirs))
		crypto_free_skcipher(theirs);
	report(ok, pair->ours, "equals the kernel's aes, fragmented, odd lengths refused", key_size);
}

/* By requests of at most @step bytes, each with the IV the one before returned. */
static bool in_steps(struct crypto_skcipher *tfm, u8 *from, u8 *to, unsigned int length,
		     unsigned int step, u8 *iv, bool decrypt)
{
	unsigned int at, part;

	for (at = 0; at < length; at += part) {
		part = min(step, length - at);
		if (run_flat(tfm, from + at, to + at, part, iv, decrypt))
			return false;
	}
	return true;
}

/* A later part deciphers by the ciphertext before it, whatever the IV of its first block. */
static bool parts_chain(struct crypto_skcipher *tfm, u8 *cipher, u8 *plain, u8 *scratch,
			unsigned int length)
{
	unsigned int at, part;
	u8 iv[16] = { 0 };

	for (at = 4096 - 16; at + 16 < length; at += 4096 - 16) {
		part = min(4096u, length - at);
		if (run_flat(tfm, cipher + at, scratch, part, iv, true) ||
		    memcmp(scratch + 16, plain + at + 16, part - 16))
			return false;
		memset(iv, 0, sizeof(iv));
	}
	return true;
}

static bool long_equals_short(struct crypto_skcipher *tfm, const struct pair *pair,
			      unsigned int length, u8 *plain, u8 *a, u8 *b)
{
	bool chains = pair->compare_iv || !crypto_skcipher_ivsize(tfm);
	static struct scatterlist src[40];
	u8 iv[16], iv_a[16], iv_b[16];
	struct scatterlist dst;

	get_random_bytes(plain, length);
	get_random_bytes(iv, sizeof(iv));
	memcpy(iv_a, iv, sizeof(iv));
	fragment(src, ARRAY_SIZE(src), plain, length);
	sg_init_one(&dst, a, length);
	if (run(tfm, src, &dst, length, iv_a, false))
		return false;
	/* What one slot holds is one part, whatever comes after. */
	memcpy(iv_b, iv, sizeof(iv));
	if (run_flat(tfm, plain, b, min(length, 4096u), iv_b, false) ||
	    memcmp(a, b, min(length, 4096u)))
		return false;
	if (chains) {
		memcpy(iv_b, iv, sizeof(iv));
		if (!in_steps(tfm, plain, b, length, 1008, iv_b, false) || memcmp(a, b, length) ||
		    (pair->compare_iv && length % 16 == 0 && memcmp(iv_a, iv_b, sizeof(iv))))
			return false;
	}
	if (strstr(pair->ours, "cbc") && !parts_chain(tfm, a, plain, b, length))
		return false;
	memcpy(iv_a, iv, sizeof(iv));
	return !run_flat(tfm, a, a, length, iv_a, true) && !memcmp(a, plain, length);
}

static void test_opaque(const struct pair *pair, unsigned int key_size, u8 *plain, u8 *a, u8 *b)
{
	static const unsigned int lengths[] = { 16, 4096, 4112, 12304, 511, 19999 };
	struct crypto_skcipher *tfm = crypto_alloc_skcipher(pair->ours, 0, 0);
	u8 key[64];
	bool ok = false;
	int i;

	get_random_bytes(key, sizeof(key));
	if (!IS_ERR(tfm) && !crypto_skcipher_setkey(tfm, key, key_size)) {
		ok = true;
		for (i = 0; ok && i < ARRAY_SIZE(lengths); i++)
			if (lengths[i] % 16 == 0 || pair->any_length)
				ok = long_equals_short(tfm, pair, lengths[i], plain, a, b);
	}
	if (!IS_ERR(tfm))
		crypto_free_skcipher(tfm);
	report(ok, pair->ours, "long requests equal short ones", key_size);
}

struct flight {
	struct skcipher_request *request;
	struct completion done;
	struct scatterlist list;
	u8 *data;
	u8 iv[16];
	int error;
	atomic_t notices;
	bool busy;
};

/* The callback's type changed in 6.3 and was backported since: take both. */
static void land(struct flight *flight, int error)
{
	if (error == -EINPROGRESS) {
		atomic_inc(&flight->notices);
		return;
	}
	flight->error = error;
	complete(&flight->done);
}

static void __maybe_unused landed_data(void *data, int error)
{
	land(data, error);
}

static void __maybe_unused landed_request(struct crypto_async_request *base, int error)
{
	land(base->data, error);
}

#define landed __builtin_choose_expr(							\
	__builtin_types_compatible_p(crypto_completion_t, typeof(&landed_data)),	\
	landed_data, landed_request)

static void test_flights(unsigned int count, unsigned int length, u32 flags, const char *what)
{
	struct crypto_skcipher *tfm = crypto_alloc_skcipher("xts(tresor)", 0, 0);
	struct flight *flights = kvcalloc(count, sizeof(*flights), GFP_KERNEL);
	unsigned int i, started = 0, refused = 0, bad = 0;
	u8 key[64];
	int ret;

	get_random_bytes(key, sizeof(key));
	if (IS_ERR(tfm) || !flights || crypto_skcipher_setkey(tfm, key, sizeof(key))) {
		bad = 1;
		goto out;
	}
	for (i = 0; i < count; i++) {
		struct flight *flight = &flights[i];

		flight->request = skcipher_request_alloc(tfm, GFP_KERNEL);
		flight->data = kmalloc(length, GFP_KERNEL);
		if (!flight->request || !flight->data) {
			bad++;
			break;
		}
		init_completion(&flight->done);
		memset(flight->data, (int)i, length);
		memcpy(flight->iv, &i, sizeof(i));
		sg_init_one(&flight->list, flight->data, length);
		skcipher_request_set_callback(flight->request, flags, landed, flight);
		skcipher_request_set_crypt(flight->request, &flight->list, &flight->list, length,
					   flight->iv);
		ret = crypto_skcipher_encrypt(flight->request);
		flight->busy = ret == -EBUSY;
		if (ret == -EINPROGRESS || ret == -EBUSY) {
			started++;
			continue;
		}
		/* Full, and not allowed to wait: nothing was queued. */
		complete(&flight->done);
		refused++;
		if (ret != -ENOSPC || (flags & CRYPTO_TFM_REQ_MAY_BACKLOG))
			bad++;
		else
			memset(flight->data, 0, length);
	}
	for (i = 0; i < count && flights[i].request && flights[i].data; i++) {
		wait_for_completion(&flights[i].done);
		bad += flights[i].error != 0;
		/* One notice for each -EBUSY, and none without. */
		bad += atomic_read(&flights[i].notices) != flights[i].busy;
	}
	/* Undone one by one, each shows its own data. */
	for (i = 0; i < count && !bad && started + refused == count; i++) {
		u8 iv[16] = { 0 };

		memcpy(iv, &i, sizeof(i));
		if (!refused && (run_flat(tfm, flights[i].data, flights[i].data, length, iv, true) ||
				 memchr_inv(flights[i].data, (u8)i, length)))
			bad++;
	}
out:
	for (i = 0; flights && i < count; i++) {
		kfree(flights[i].data);
		if (flights[i].request)
			skcipher_request_free(flights[i].request);
	}
	kvfree(flights);
	if (!IS_ERR(tfm))
		crypto_free_skcipher(tfm);
	report(!bad, "xts(tresor)", what, count);
}

static void test_setkey_churn(u8 *plain, u8 *a, u8 *b)
{
	struct crypto_skcipher *ours = crypto_alloc_skcipher("cbc(tresor)", 0, 0);
	struct crypto_skcipher *theirs = crypto_alloc_skcipher("cbc(aes)", 0, 0);
	const struct pair *cbc = &pairs[1];
	unsigned int i;
	bool ok = !IS_ERR(ours) && !IS_ERR(theirs);
	u8 key[32];

	for (i = 0; ok && i < 100; i++) {
		unsigned int size = cbc->sizes[i % 3];

		get_random_bytes(key, sizeof(key));
		ok = !crypto_skcipher_setkey(ours, key, size) &&
		     !crypto_skcipher_setkey(theirs, key, size) &&
		     compare(ours, theirs, cbc, 1024, plain, a, b);
	}
	if (!IS_ERR(ours))
		crypto_free_skcipher(ours);
	if (!IS_ERR(theirs))
		crypto_free_skcipher(theirs);
	report(ok, "cbc(tresor)", "setkey again and again", i);
}

static int __init tresor_test_init(void)
{
	u8 *plain = kmalloc(LONGEST, GFP_KERNEL);
	u8 *a = kmalloc(LONGEST, GFP_KERNEL);
	u8 *b = kmalloc(LONGEST, GFP_KERNEL);
	int ret = -ENOMEM, i, j;

	if (!plain || !a || !b)
		goto out;
	for (i = 0; i < ARRAY_SIZE(vectors) && !opaque; i++)
		test_vector(&vectors[i], a, b);
	for (i = 0; i < ARRAY_SIZE(pairs) && !opaque; i++)
		for (j = 0; j < 3 && pairs[i].sizes[j]; j++)
			test_pair(&pairs[i], pairs[i].sizes[j], plain, a, b);
	/* Each key costs such a daemon seconds: the smallest of each cipher. */
	for (i = 0; i < ARRAY_SIZE(pairs) && opaque; i++)
		test_opaque(&pairs[i], pairs[i].sizes[0], plain, a, b);
	test_flights(CONCURRENT, 4096, CRYPTO_TFM_REQ_MAY_BACKLOG, "concurrent requests");
	test_flights(FLOOD, 512, CRYPTO_TFM_REQ_MAY_BACKLOG, "beyond the queue: one notice per -EBUSY");
	test_flights(FLOOD, 512, 0, "beyond the queue without backlog: -ENOSPC");
	if (!opaque)
		test_setkey_churn(plain, a, b);
	snprintf(result, sizeof(result), "passed %u failed %u", passed, failed);
	pr_info("%s\n", result);
	ret = failed && !stay ? -EIO : 0;
out:
	kfree(plain);
	kfree(a);
	kfree(b);
	return ret;
}

static void __exit tresor_test_exit(void)
{
}

module_init(tresor_test_init);
module_exit(tresor_test_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Tests of tresor.ko from kernel space");
