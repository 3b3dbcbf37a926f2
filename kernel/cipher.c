// SPDX-License-Identifier: GPL-2.0
/* The ciphers as the Crypto API sees them: a request is checked, all work is done elsewhere. */
#include <crypto/aes.h>
#include <crypto/internal/skcipher.h>
#include <linux/capability.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>

#include "tresor.h"

struct tresor_tfm {
	struct tresor_key __rcu *key;	/* NULL: none, or wiped */
	u8 mode;
	bool named;			/* has been given a handle once */
};

struct tresor_algorithm {
	struct skcipher_alg base;
	u8 mode;
};

static struct tresor_key *get_key(struct tresor_tfm *tfm)
{
	struct tresor_key *key;

	rcu_read_lock();
	key = rcu_dereference(tfm->key);
	if (key && !tresor_key_tryget(key))
		key = NULL;
	rcu_read_unlock();
	return key;
}

static int crypt(struct skcipher_request *api, bool decrypt)
{
	struct crypto_skcipher *cipher = crypto_skcipher_reqtfm(api);
	struct tresor_tfm *tfm = crypto_skcipher_ctx(cipher);
	struct tresor_request *request = skcipher_request_ctx(api);
	struct tresor_key *key;
	int ret;

	if (!api->cryptlen)
		return 0;
	/* No ciphertext stealing: sectors are whole. CTR may end anywhere. */
	if (api->cryptlen % crypto_skcipher_blocksize(cipher))
		return -EINVAL;

	memset(request, 0, sizeof(*request));
	INIT_LIST_HEAD(&request->node);
	request->length = api->cryptlen;
	request->mode = tfm->mode;
	request->decrypt = decrypt;
	request->may_backlog = api->base.flags & CRYPTO_TFM_REQ_MAY_BACKLOG;
	request->src_nents = sg_nents_for_len(api->src, api->cryptlen);
	request->dst_nents = sg_nents_for_len(api->dst, api->cryptlen);
	if (request->src_nents < 0 || request->dst_nents < 0)
		return -EINVAL;
	if (tfm->mode != TRESOR_KMODE_ECB)
		memcpy(request->iv, api->iv, sizeof(request->iv));

	key = get_key(tfm);
	if (!key) {
		tresor_count(TRESOR_COUNT_FAILURES, 1);
		return -ENOKEY;
	}
	request->key = key;
	ret = tresor_route_submit(request);
	/* Accepted: the request may be gone by now. */
	if (ret == -EINPROGRESS || ret == -EBUSY)
		return ret;
	tresor_key_put(key);
	tresor_count(TRESOR_COUNT_FAILURES, 1);
	return ret;
}

static int encrypt(struct skcipher_request *api)
{
	return crypt(api, false);
}

static int decrypt(struct skcipher_request *api)
{
	return crypt(api, true);
}

static void replace_key(struct tresor_tfm *tfm, struct tresor_key *fresh)
{
	/* Callers of setkey exclude each other, as the API demands. */
	struct tresor_key *old = rcu_replace_pointer(tfm->key, fresh, true);

	if (old)
		tresor_key_release(old);
}

/*
 * Any bytes are accepted: dm-crypt wipes a key by setting random ones. Those
 * that name nothing leave the cipher without a key. They are no key for the
 * legacy daemon where they can only be a wipe, or were a handle.
 */
static int setkey(struct crypto_skcipher *cipher, const u8 *bytes, unsigned int size)
{
	struct tresor_tfm *tfm = crypto_skcipher_ctx(cipher);
	enum tresor_handle_state state = TRESOR_HANDLE_UNKNOWN;
	struct tresor_key *key = NULL;

	/* AF_ALG would bring any user here. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	tresor_count(TRESOR_COUNT_SETKEY, 1);
	replace_key(tfm, NULL);
	if (size == TRESOR_HANDLE_SIZE) {
		state = tresor_handle_find(bytes, &key);
		if (state == TRESOR_HANDLE_LIVE)
			tfm->named = true;
		else if (tfm->named)
			state = TRESOR_HANDLE_DEAD;
	}
	if (state == TRESOR_HANDLE_UNKNOWN)
		key = tresor_legacy_ask(bytes, size, tfm->mode);
	if (IS_ERR(key))
		return PTR_ERR(key);
	replace_key(tfm, key);
	return 0;
}

static int init_tfm(struct crypto_skcipher *cipher)
{
	struct tresor_tfm *tfm = crypto_skcipher_ctx(cipher);
	struct skcipher_alg *base = crypto_skcipher_alg(cipher);

	RCU_INIT_POINTER(tfm->key, NULL);
	tfm->named = false;
	tfm->mode = container_of(base, struct tresor_algorithm, base)->mode;
	crypto_skcipher_set_reqsize(cipher, sizeof(struct tresor_request));
	return 0;
}

static void exit_tfm(struct crypto_skcipher *cipher)
{
	replace_key(crypto_skcipher_ctx(cipher), NULL);
}

/* Not CRYPTO_ALG_ALLOCATES_MEMORY, which dm-crypt refuses: nothing does. */
#define ALGORITHM(name_, driver_, mode_, block_, iv_) {				\
	.mode = mode_,								\
	.base = {								\
		.base.cra_name = name_,						\
		.base.cra_driver_name = driver_,				\
		.base.cra_priority = 100,					\
		.base.cra_flags = CRYPTO_ALG_ASYNC,				\
		.base.cra_blocksize = block_,					\
		.base.cra_ctxsize = sizeof(struct tresor_tfm),			\
		.base.cra_module = THIS_MODULE,					\
		.min_keysize = AES_MIN_KEY_SIZE,				\
		.max_keysize = TRESOR_BYTES_MAX,				\
		.ivsize = iv_,							\
		.chunksize = AES_BLOCK_SIZE,					\
		.setkey = setkey,						\
		.encrypt = encrypt,						\
		.decrypt = decrypt,						\
		.init = init_tfm,						\
		.exit = exit_tfm,						\
	},									\
}

static struct tresor_algorithm algorithms[] = {
	ALGORITHM("xts(tresor)", "xts-tresor", TRESOR_KMODE_XTS, AES_BLOCK_SIZE, AES_BLOCK_SIZE),
	ALGORITHM("cbc(tresor)", "cbc-tresor", TRESOR_KMODE_CBC, AES_BLOCK_SIZE, AES_BLOCK_SIZE),
	ALGORITHM("ctr(tresor)", "ctr-tresor", TRESOR_KMODE_CTR, 1, AES_BLOCK_SIZE),
	ALGORITHM("ecb(tresor)", "ecb-tresor", TRESOR_KMODE_ECB, AES_BLOCK_SIZE, 0),
	/* Under the template's name: the template itself takes synchronous ciphers only. */
	ALGORITHM("essiv(cbc(tresor),sha256)", "essiv-cbc-tresor-sha256", TRESOR_KMODE_CBC_ESSIV,
		  AES_BLOCK_SIZE, AES_BLOCK_SIZE),
};

static DEFINE_MUTEX(register_lock);
static bool registered;

/* Holds register_lock. */
static int register_all(void)
{
	int ret, i;

	for (i = 0; i < ARRAY_SIZE(algorithms); i++) {
		ret = crypto_register_skcipher(&algorithms[i].base);
		if (ret)
			goto undo;
	}
	return 0;
undo:
	while (i--)
		crypto_unregister_skcipher(&algorithms[i].base);
	return ret;
}

int tresor_ciphers_register(void)
{
	int ret = 0;

	mutex_lock(&register_lock);
	if (!registered)
		ret = register_all();
	if (!ret)
		registered = true;
	mutex_unlock(&register_lock);
	return ret;
}

void tresor_ciphers_unregister(void)
{
	int i;

	if (!registered)
		return;
	for (i = ARRAY_SIZE(algorithms) - 1; i >= 0; i--)
		crypto_unregister_skcipher(&algorithms[i].base);
}

MODULE_ALIAS_CRYPTO("xts(tresor)");
MODULE_ALIAS_CRYPTO("cbc(tresor)");
MODULE_ALIAS_CRYPTO("ctr(tresor)");
MODULE_ALIAS_CRYPTO("ecb(tresor)");
MODULE_ALIAS_CRYPTO("essiv(cbc(tresor),sha256)");
