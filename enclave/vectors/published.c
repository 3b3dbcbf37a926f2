/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published vectors, as hexadecimal text of fixed size: a table of pointers
 * would need relocations.
 */
#include "vectors/published.h"

#include <stddef.h>

#include "enclave.h"
#include "crypto/aes.h"
#include "crypto/af.h"
#include "crypto/argon2.h"
#include "crypto/cmac.h"
#include "crypto/cpu.h"
#include "crypto/ct.h"
#include "crypto/drbg.h"
#include "crypto/gcm.h"
#include "crypto/hash.h"
#include "crypto/hkdf.h"
#include "crypto/hmac.h"
#include "crypto/hpke.h"
#include "mem.h"
#include "crypto/modes.h"
#include "crypto/pbkdf2.h"
#include "crypto/random.h"
#include "crypto/wipe.h"
#include "crypto/x25519.h"
#include "crypto/xts.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

/* Text to bytes; returns how many. Lower case, an even number of digits. */
static size_t unhex(uint8_t *out, const char *text)
{
	size_t size = 0;

	for (; text[2 * size] != 0; size++) {
		uint8_t byte = 0;

		for (int i = 0; i < 2; i++) {
			char c = text[2 * size + (size_t)i];

			byte = (uint8_t)(byte << 4 | (c <= '9' ? c - '0' : c - 'a' + 10));
		}
		out[size] = byte;
	}
	return size;
}

static size_t length(const char *text)
{
	size_t size = 0;

	while (text[size] != 0)
		size++;
	return size;
}

static bool equals(const uint8_t *bytes, const char *text)
{
	uint8_t expected[80];
	size_t size = unhex(expected, text);

	return ct_equal(bytes, expected, size);
}

/* FIPS 197, appendix C. */
static bool test_aes(void)
{
	static const char expected[][33] = {
		"69c4e0d86a7b0430d8cdb78070b4c55a", "dda97ca4864cdfe06eaf70a0ec0d7191",
		"8ea2b7ca516745bfeafc49904b496089",
	};
	uint8_t secret[32], plain[16], block[16];
	bool passed = true;

	for (uint8_t i = 0; i < 32; i++)
		secret[i] = i;
	for (uint8_t i = 0; i < 16; i++)
		plain[i] = (uint8_t)(i * 0x11);
	for (uint32_t i = 0; i < COUNT(expected); i++) {
		struct aes_key key;

		aes_expand(&key, secret, 16 + 8 * i);
		aes_encrypt(&key, plain, block, 1);
		passed = passed && equals(block, expected[i]);
		aes_decrypt(&key, block, block, 1);
		passed = passed && ct_equal(block, plain, 16);
	}
	return passed;
}

/* SP 800-38A, appendix F: four blocks. */
static const char modes_plain[] =
	"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
	"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

struct modes_vector {
	char key[65], ecb[129], cbc[129], ctr[129];
};

static const struct modes_vector modes_vectors[] = {
	{
		"2b7e151628aed2a6abf7158809cf4f3c",
		"3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
		"43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
		"7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
		"73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
		"874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
		"5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
	}, {
		"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
		"bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef"
		"ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e",
		"4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
		"571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
		"1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"
		"1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
	}, {
		"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
		"f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
		"b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7",
		"f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
		"39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
		"601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
		"2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
	},
};

static bool test_modes(void)
{
	uint8_t secret[32], plain[64], out[64], iv[16];
	bool passed = true;

	unhex(plain, modes_plain);
	for (uint32_t i = 0; i < COUNT(modes_vectors); i++) {
		const struct modes_vector *vector = &modes_vectors[i];
		struct aes_key key;

		aes_expand(&key, secret, (uint32_t)unhex(secret, vector->key));
		modes_ecb(&key, false, plain, out, 64);
		passed = passed && equals(out, vector->ecb);
		modes_ecb(&key, true, out, out, 64);
		passed = passed && ct_equal(out, plain, 64);

		unhex(iv, "000102030405060708090a0b0c0d0e0f");
		modes_cbc(&key, false, plain, out, 64, iv);
		passed = passed && equals(out, vector->cbc);
		unhex(iv, "000102030405060708090a0b0c0d0e0f");
		modes_cbc(&key, true, out, out, 64, iv);
		passed = passed && ct_equal(out, plain, 64);

		unhex(iv, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
		modes_ctr(&key, plain, out, 64, iv);
		passed = passed && equals(out, vector->ctr);
	}
	return passed;
}

/* IEEE 1619-2007, vector 10: 512 bytes; the SHA-256 of all of its ciphertext. Vector 2: 32 bytes. */
static bool test_xts_once(uint8_t *memory)
{
	uint8_t secret[64], digest[32], iv[16];
	struct xts_key key;
	bool passed;

	unhex(secret, "2718281828459045235360287471352662497757247093699959574966967627"
		      "3141592653589793238462643383279502884197169399375105820974944592");
	for (uint32_t i = 0; i < 512; i++)
		memory[i] = (uint8_t)i;
	xts_expand(&key, secret, 64);
	xts_sectors(&key, false, memory, memory, 0xff, 512, 512);
	hash_once(TRESOR_SHA256, memory, 512, digest);
	passed = equals(memory, "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b") &&
		 equals(digest, "e97e974fa393af794f7a4684395814cf820de60a01eaec677d87b452e316b364");
	xts_sectors(&key, true, memory, memory, 0xff, 512, 512);
	for (uint32_t i = 0; i < 512; i++)
		passed = passed && memory[i] == (uint8_t)i;

	memset(secret, 0x11, 16);
	memset(secret + 16, 0x22, 16);
	memset(memory, 0x44, 32);
	unhex(iv, "33333333330000000000000000000000");
	xts_expand(&key, secret, 32);
	xts_unit(&key, false, false, memory, memory, 32, iv);
	return passed && equals(memory, "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0");
}

/* Every vector width this CPU runs; other threads meanwhile use one of them, all of which are right. */
static bool test_xts(void *memory)
{
	uint32_t features = cpu_features;
	bool passed = test_xts_once(memory);

	cpu_features = features & ~TRESOR_CPU_VAES512;
	passed = test_xts_once(memory) && passed;
	cpu_features = 0;
	passed = test_xts_once(memory) && passed;
	cpu_features = features;
	return passed;
}

/* FIPS 180-4 examples: one block and two. */
static bool test_sha(void)
{
	static const struct {
		uint32_t algorithm;
		char abc[129], two[129];
	} vectors[] = {
		{ TRESOR_SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d",
		  "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
		{ TRESOR_SHA224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
		  "75388b16512776cc5dba5da1fd890150b0c6455cb4f58b1952522525" },
		{ TRESOR_SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ TRESOR_SHA384,
		  "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
		  "8086072ba1e7cc2358baeca134c825a7",
		  "3391fdddfc8dc7393707a65b1b4709397cf8b1d162af05abfe8f450de5f36bc6"
		  "b0455a8520bc4e6f5fe95b1fe3c8452b" },
		{ TRESOR_SHA512,
		  "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		  "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		  "204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c335"
		  "96fd15c13b1b07f9aa1d3bea57789ca031ad85c7a71dd70354ec631238ca3445" },
	};
	static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	uint8_t digest[HASH_SIZE_MAX];
	bool passed = true;

	for (uint32_t i = 0; i < COUNT(vectors); i++) {
		hash_once(vectors[i].algorithm, "abc", 3, digest);
		passed = passed && equals(digest, vectors[i].abc);
		hash_once(vectors[i].algorithm, two, sizeof(two) - 1, digest);
		passed = passed && equals(digest, vectors[i].two);
	}
	return passed;
}

static void hmac_once(uint32_t algorithm, const void *key, size_t key_size, const void *data, size_t size,
		      uint8_t *tag)
{
	struct hmac hmac;

	hmac_init(&hmac, algorithm, key, key_size);
	hmac_update(&hmac, data, size);
	hmac_final(&hmac, tag);
}

/* RFC 4231, test cases 2 (short key) and 6 (key longer than the block). */
static bool test_hmac(void)
{
	static const char short_data[] = "what do ya want for nothing?";
	static const char long_data[] = "Test Using Larger Than Block-Size Key - Hash Key First";
	uint8_t key[131], tag[HASH_SIZE_MAX];
	bool passed;

	hmac_once(TRESOR_SHA256, "Jefe", 4, short_data, sizeof(short_data) - 1, tag);
	passed = equals(tag, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	hmac_once(TRESOR_SHA512, "Jefe", 4, short_data, sizeof(short_data) - 1, tag);
	passed = passed && equals(tag, "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
				       "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");
	memset(key, 0xaa, sizeof(key));
	hmac_once(TRESOR_SHA256, key, sizeof(key), long_data, sizeof(long_data) - 1, tag);
	return passed && equals(tag, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

struct pbkdf2_vector {
	uint32_t algorithm, iterations;
	char pass[25], salt[37], out[129];
};

static bool test_pbkdf2(const struct pbkdf2_vector *vectors, size_t count)
{
	uint8_t out[64];
	bool passed = true;

	for (size_t i = 0; i < count; i++) {
		const struct pbkdf2_vector *v = &vectors[i];

		pbkdf2(v->algorithm, v->pass, length(v->pass), v->salt, length(v->salt), v->iterations, out,
		       length(v->out) / 2);
		passed = passed && equals(out, v->out);
	}
	return passed;
}

static bool test_pbkdf2_sha1(void)
{
	static const struct pbkdf2_vector vectors[] = {
		{ TRESOR_SHA1, 1, "password", "salt", "0c60c80f961f0e71f3a9b524af6012062fe037a6" },
		{ TRESOR_SHA1, 2, "password", "salt", "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957" },
		{ TRESOR_SHA1, 4096, "password", "salt", "4b007901b765489abead49d926f721d065a429c1" },
		{ TRESOR_SHA1, 4096, "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt",
		  "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038" },
	};

	return test_pbkdf2(vectors, COUNT(vectors));
}

static bool test_pbkdf2_sha256(void)
{
	static const struct pbkdf2_vector vectors[] = {
		{ TRESOR_SHA256, 1, "passwd", "salt",
		  "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
		  "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783" },
		{ TRESOR_SHA256, 80000, "Password", "NaCl",
		  "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
		  "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d" },
	};

	return test_pbkdf2(vectors, COUNT(vectors));
}

/* RFC 9106, sections 5.2 and 5.3. */
static bool test_argon2(void *memory)
{
	uint8_t pass[32], salt[16], secret[8], data[12], tag[32];
	const struct argon2_associated associated = { secret, sizeof(secret), data, sizeof(data) };
	bool passed;

	memset(pass, 1, sizeof(pass));
	memset(salt, 2, sizeof(salt));
	memset(secret, 3, sizeof(secret));
	memset(data, 4, sizeof(data));
	passed = argon2_with(TRESOR_KDF_ARGON2I, pass, sizeof(pass), salt, sizeof(salt), &associated, 3, 32, 4,
			     tag, sizeof(tag), memory) &&
		 equals(tag, "c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8");
	return argon2_with(TRESOR_KDF_ARGON2ID, pass, sizeof(pass), salt, sizeof(salt), &associated, 3, 32, 4,
			   tag, sizeof(tag), memory) &&
	       equals(tag, "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659") && passed;
}

/* RFC 5869, test cases 1 and 3. */
static bool test_hkdf(void)
{
	uint8_t ikm[22], salt[13], info[10], prk[32], okm[42];
	bool passed;

	memset(ikm, 0x0b, sizeof(ikm));
	unhex(salt, "000102030405060708090a0b0c");
	unhex(info, "f0f1f2f3f4f5f6f7f8f9");
	hkdf_extract(TRESOR_SHA256, salt, sizeof(salt), ikm, sizeof(ikm), prk);
	passed = equals(prk, "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
	hkdf_expand(TRESOR_SHA256, prk, info, sizeof(info), okm, sizeof(okm));
	passed = passed && equals(okm, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
				       "34007208d5b887185865");
	hkdf_extract(TRESOR_SHA256, NULL, 0, ikm, sizeof(ikm), prk);
	hkdf_expand(TRESOR_SHA256, prk, NULL, 0, okm, sizeof(okm));
	return passed && equals(okm, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
				     "9d201395faa4b61a96c8");
}

/* The GCM specification submitted to NIST (McGrew, Viega), test cases 4 and 16: 60 bytes, 20 of them associated. */
static bool test_gcm(void)
{
	static const struct {
		char key[65], cipher[121], tag[33];
	} vectors[] = {
		{ "feffe9928665731c6d6a8f9467308308",
		  "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
		  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
		  "5bc94fbc3221a5db94fae95ae7121a47" },
		{ "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
		  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
		  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
		  "76fc6ece0f4e1768cddf8853bb2d551b" },
	};
	uint8_t key[32], iv[12], aad[20], plain[60], out[60], tag[16];
	bool passed = true;

	unhex(iv, "cafebabefacedbaddecaf888");
	unhex(aad, "feedfacedeadbeeffeedfacedeadbeefabaddad2");
	unhex(plain, "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
		     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
	for (uint32_t i = 0; i < COUNT(vectors); i++) {
		uint32_t size = (uint32_t)unhex(key, vectors[i].key);

		gcm_seal(key, size, iv, aad, sizeof(aad), plain, out, sizeof(plain), tag);
		passed = passed && equals(out, vectors[i].cipher) && equals(tag, vectors[i].tag);
		passed = gcm_open(key, size, iv, aad, sizeof(aad), out, out, sizeof(out), tag) && passed;
		passed = passed && ct_equal(out, plain, sizeof(plain));
		tag[15] ^= 1;
		passed = !gcm_open(key, size, iv, aad, sizeof(aad), out, out, sizeof(out), tag) && passed;
	}
	return passed;
}

/* RFC 7748, sections 5.2 (first vector) and 6.1. */
static bool test_x25519(void)
{
	uint8_t scalar[32], point[32], out[32];
	bool passed;

	unhex(scalar, "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
	unhex(point, "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
	passed = x25519(out, scalar, point) &&
		 equals(out, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
	unhex(scalar, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
	x25519_public(out, scalar);
	passed = passed && equals(out, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	unhex(point, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
	passed = x25519(out, scalar, point) && passed;
	passed = passed && equals(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
	return passed;
}

/* SP 800-38B, appendix D.1, as in RFC 4493, section 4: the vectors of whole blocks. */
static bool test_cmac(void)
{
	uint8_t key[16], message[64], mac[16];
	bool passed;

	unhex(key, "2b7e151628aed2a6abf7158809cf4f3c");
	unhex(message, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
		       "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
	cmac(key, message, 16, mac);
	passed = equals(mac, "070a16b46b4d4144f79bdd9dd04a287c");
	cmac(key, message, 64, mac);
	return equals(mac, "51f0bebf7e3b9d92fc49741779363cfe") && passed;
}

/* RFC 9180, appendix A.1.1 (AES-128-GCM), sequence number 0: both sides. */
static bool test_hpke(void)
{
	uint8_t secret[32], ephemeral[32], public_key[32], info[20], aad[7], message[32 + 29 + 16], out[29];
	uint8_t sealed[sizeof(message)];
	size_t size;

	unhex(secret, "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
	unhex(public_key, "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
	unhex(info, "4f6465206f6e2061204772656369616e2055726e");
	unhex(aad, "436f756e742d30");
	size = unhex(message, "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
			      "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9"
			      "6d8770ac83d07bea87e13c512a");
	unhex(ephemeral, "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736");
	return hpke_open(HPKE_AES_128_GCM, secret, public_key, info, sizeof(info), aad, sizeof(aad), message, size,
			 out) &&
	       equals(out, "4265617574792069732074727574682c20747275746820626561757479") &&
	       hpke_seal(HPKE_AES_128_GCM, ephemeral, public_key, info, sizeof(info), aad, sizeof(aad), out,
			 sizeof(out), sealed) &&
	       ct_equal(sealed, message, sizeof(sealed));
}

/*
 * LUKS's AF splitter has no published vector: what is split merges to the key,
 * and stripes chosen by us merge to what cryptsetup's af.c computes by hand:
 * with two stripes, key = stripe 1 ^ diffuse(stripe 0).
 */
static bool test_af(uint8_t *memory)
{
	static const uint8_t counter[4];
	uint8_t key[32], merged[32], digest[32];
	struct hash hash;
	bool passed;

	for (uint8_t i = 0; i < 32; i++)
		key[i] = i;
	passed = af_split(TRESOR_SHA256, key, sizeof(key), 16, memory);
	af_merge(TRESOR_SHA256, merged, sizeof(merged), 16, memory);
	passed = passed && ct_equal(key, merged, sizeof(key));

	hash_init(&hash, TRESOR_SHA256);
	hash_update(&hash, counter, sizeof(counter));
	hash_update(&hash, memory, 32);
	hash_final(&hash, digest);
	for (uint32_t i = 0; i < 32; i++)
		digest[i] ^= memory[32 + i];
	af_merge(TRESOR_SHA256, merged, sizeof(merged), 2, memory);
	return passed && ct_equal(digest, merged, sizeof(merged));
}

/*
 * NIST CAVP, HMAC_DRBG SHA-256 without reseeding, count 0: two requests of 128
 * bytes, the second is the answer. And samples that a dead source would give.
 */
static bool test_random(uint8_t *memory)
{
	uint8_t seed[48];
	struct random_health health = { 0 };
	struct drbg drbg;
	bool stuck = true, passed;

	unhex(seed, "ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488"
		    "659ba96c601dc69fc902940805ec0ca8");
	drbg_init(&drbg, seed, sizeof(seed));
	drbg_generate(&drbg, memory, 128);
	drbg_generate(&drbg, memory, 128);
	passed = equals(memory, "e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89"
				"d54fbb978a15b5c443c9ec21036d2460b6f73ebad0dc2aba6e624abf07745bc1") &&
		 equals(memory + 64, "07694bb7547bb0995f70de25d6b29e2d3011bb19d27676c07162c8b5ccde0668"
				     "961df86803482cb37ed6d5c0bb8d50cf1f50d476aa0458bdaba806f48be9dcb8");
	for (int i = 0; i < 64; i++)
		stuck = random_healthy(&health, 0x5555555555555555) && stuck;
	return passed && !stuck && random_bytes(memory, 32);
}

bool published_vectors_pass(uint32_t index, void *memory)
{
	bool passed = false;

	switch (index) {
	case TRESOR_TEST_AES_FIPS197:
		passed = test_aes();
		break;
	case TRESOR_TEST_MODES_SP800_38A:
		passed = test_modes();
		break;
	case TRESOR_TEST_XTS_IEEE1619:
		passed = test_xts(memory);
		break;
	case TRESOR_TEST_SHA_FIPS180:
		passed = test_sha();
		break;
	case TRESOR_TEST_HMAC_RFC4231:
		passed = test_hmac();
		break;
	case TRESOR_TEST_PBKDF2_RFC6070:
		passed = test_pbkdf2_sha1();
		break;
	case TRESOR_TEST_PBKDF2_RFC7914:
		passed = test_pbkdf2_sha256();
		break;
	case TRESOR_TEST_ARGON2_RFC9106:
		passed = test_argon2(memory);
		break;
	case TRESOR_TEST_HKDF_RFC5869:
		passed = test_hkdf();
		break;
	case TRESOR_TEST_GCM_SP800_38D:
		passed = test_gcm();
		break;
	case TRESOR_TEST_X25519_RFC7748:
		passed = test_x25519();
		break;
	case TRESOR_TEST_HPKE_RFC9180:
		passed = test_hpke();
		break;
	case TRESOR_TEST_CMAC_SP800_38B:
		passed = test_cmac();
		break;
	case TRESOR_TEST_AF:
		passed = test_af(memory);
		break;
	case TRESOR_TEST_RANDOM:
		passed = test_random(memory);
		break;
	default:
		break;
	}
	wipe(memory, VECTORS_MEMORY);
	return passed;
}
