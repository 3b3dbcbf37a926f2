/* SPDX-License-Identifier: Apache-2.0 */
#include "random.h"
#include "cpu.h"
#include "drbg.h"
#include "mem.h"
#include "simd.h"
#include "wipe.h"

/*
 * SP 800-90B 4.4 on 64-bit samples, with one bit of entropy assumed in each and
 * a false alarm in 2^30: repetition count 1 + 30, adaptive proportion 512 a
 * window. RDRAND is whitened, so two equal samples in a row are already a
 * 2^-64 event, and we allow none.
 */
#define WINDOW		512u
#define WINDOW_SAME	2u
#define TRIES		10
#define SEED_WORDS	12u	/* 256 bits of entropy and 128 of nonce, per source */

static struct {
	uint32_t lock;
	uint32_t requests;	/* since seeded; 0: not seeded */
	bool dead;
	struct random_health rand_health;
	struct random_health seed_health;
	struct drbg drbg;
	uint8_t personal[RANDOM_PERSONAL];
} state;

#ifdef TRESOR_HOST_TEST
bool tresor_test_draw(bool seed, uint64_t *word);
#define draw	tresor_test_draw
#else
static bool draw(bool seed, uint64_t *word)
{
	uint8_t ok;

	if (seed)
		__asm__ volatile("rdseed %0; setc %1" : "=r"(*word), "=qm"(ok) : : "cc");
	else
		__asm__ volatile("rdrand %0; setc %1" : "=r"(*word), "=qm"(ok) : : "cc");
	return ok;
}
#endif

void random_personalise(const uint8_t bytes[RANDOM_PERSONAL])
{
	memcpy(state.personal, bytes, sizeof(state.personal));
}

bool random_healthy(struct random_health *health, uint64_t sample)
{
	/* Stuck: AMD's RDRAND answered all ones with CF set after suspend (erratum 1286). */
	if (sample == 0 || sample == ~0ull)
		return false;
	if (health->samples && sample == health->last)
		return false;
	health->last = sample;
	health->samples = 1;
	if (health->seen == 0) {
		health->first = sample;
		health->same = 0;
	}
	if (sample == health->first && ++health->same >= WINDOW_SAME)
		return false;
	health->seen = (health->seen + 1) % WINDOW;
	return true;
}

/* The samples are compared while they are raw; what leaves is only their hash, in the DRBG. */
static bool gather(bool seed, uint64_t *words, uint32_t count)
{
	struct random_health *health = seed ? &state.seed_health : &state.rand_health;

	for (uint32_t i = 0; i < count; i++) {
		bool ok = false;

		for (int tries = 0; tries < TRIES && !ok; tries++) {
			ok = draw(seed, &words[i]);
			if (!ok)
				_mm_pause();
		}
		/* RDSEED runs dry when every core draws on it; RDRAND then seeds alone. */
		if (!ok && seed)
			words[i] = 0;
		else if (!ok || !random_healthy(health, words[i]))
			return false;
	}
	return true;
}

static bool reseed(void)
{
	struct {
		uint64_t words[2 * SEED_WORDS];
		uint8_t personal[RANDOM_PERSONAL];
	} seed = { 0 };
	bool ok;

	/* Both where both exist; RDRAND must answer, RDSEED may run dry. */
	ok = gather(false, seed.words, SEED_WORDS) &&
	     gather(cpu_features & TRESOR_CPU_RDSEED, seed.words + SEED_WORDS, SEED_WORDS);
	memcpy(seed.personal, state.personal, sizeof(seed.personal));
	if (ok && state.requests)
		drbg_reseed(&state.drbg, &seed, sizeof(seed));
	else if (ok)
		drbg_init(&state.drbg, &seed, sizeof(seed));
	WIPE(seed);
	state.requests = 0;
	return ok;
}

bool random_bytes(void *out, size_t size)
{
	uint8_t *bytes = out;
	const size_t whole = size;
	bool ok = true;

	/* A holder the host never resumes costs availability, which the host has anyway. */
	while (__atomic_exchange_n(&state.lock, 1, __ATOMIC_ACQUIRE))
		_mm_pause();
	while (size && ok) {
		const size_t part = size < 65536 ? size : 65536;

		if (state.requests % RANDOM_RESEED == 0)
			state.dead |= !reseed();
		ok = !state.dead;
		if (ok) {
			state.requests++;
			drbg_generate(&state.drbg, bytes, part);
			bytes += part;
			size -= part;
		}
	}
	__atomic_store_n(&state.lock, 0, __ATOMIC_RELEASE);
	if (!ok)
		wipe(out, whole);
	return ok;
}
