/* SPDX-License-Identifier: Apache-2.0 */
/* CLOCK_MONOTONIC, as numbers. */
#ifndef TRESOR_MONOTONIC_H
#define TRESOR_MONOTONIC_H

#include <stdint.h>
#include <time.h>

static inline int64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t monotonic_us(void)
{
	return monotonic_ns() / 1000;
}

static inline int64_t monotonic_ms(void)
{
	return monotonic_ns() / 1000000;
}

/* That many milliseconds from now, for calls that wait until a moment of this clock. */
static inline struct timespec monotonic_after_ms(int64_t ms)
{
	const int64_t at = monotonic_ns() + ms * 1000000;

	return (struct timespec){ .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 };
}

#endif
