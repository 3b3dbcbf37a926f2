/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addon/test/disk/check.h"

#define MAYBE	256u	/* writes of one unit that failed and are not written over */

struct unit {
	uint64_t is;
	uint64_t may[MAYBE];
	unsigned mays;
};

struct model {
	uint64_t units;
	struct unit unit[];
};

struct model *model_new(uint64_t size)
{
	struct model *model = calloc(1, sizeof(*model) + size / UNIT * sizeof(model->unit[0]));

	CHECK(model != NULL);
	model->units = size / UNIT;
	return model;
}

void model_free(struct model *model)
{
	free(model);
}

/* Of every word of a unit, so that a torn one is found. */
static uint64_t word_of(uint64_t unit, unsigned i, uint64_t id)
{
	uint64_t seed = id * 1000003 + unit * 64 + i;

	return id == 0 ? 0 : next_random(&seed);
}

void model_fill(uint8_t *memory, uint64_t offset, uint32_t length, uint64_t id)
{
	for (uint32_t at = 0; at < length; at += 8) {
		const uint64_t word = word_of((offset + at) / UNIT, (unsigned)((offset + at) % UNIT / 8), id);

		memcpy(memory + at, &word, 8);
	}
}

static struct unit *unit_at(const struct model *model, uint64_t offset)
{
	CHECK(offset / UNIT < model->units);
	return (struct unit *)(uintptr_t)&model->unit[offset / UNIT];
}

void model_done(struct model *model, uint64_t offset, uint32_t length, uint64_t id)
{
	for (uint32_t at = 0; at < length; at += UNIT) {
		struct unit *unit = unit_at(model, offset + at);

		unit->is = id;
		unit->mays = 0;
	}
}

void model_may(struct model *model, uint64_t offset, uint32_t length, uint64_t id)
{
	for (uint32_t at = 0; at < length; at += UNIT) {
		struct unit *unit = unit_at(model, offset + at);

		CHECK(unit->mays < MAYBE);
		unit->may[unit->mays++] = id;
	}
}

bool model_room(const struct model *model, uint64_t offset, uint32_t length)
{
	for (uint32_t at = 0; at < length; at += UNIT)
		if (unit_at(model, offset + at)->mays == MAYBE)
			return false;
	return true;
}

static bool holds(const uint8_t *memory, uint64_t offset, uint64_t id)
{
	uint8_t expected[UNIT];

	model_fill(expected, offset, UNIT, id);
	return memcmp(memory, expected, UNIT) == 0;
}

bool model_allows(const struct model *model, const uint8_t *memory, uint64_t offset, uint32_t length)
{
	for (uint32_t at = 0; at < length; at += UNIT) {
		const struct unit *unit = unit_at(model, offset + at);
		bool allowed = holds(memory + at, offset + at, unit->is);

		for (unsigned i = 0; !allowed && i < unit->mays; i++)
			allowed = holds(memory + at, offset + at, unit->may[i]);
		if (allowed)
			continue;
		fprintf(stderr, "byte %llu: neither write %llu nor one of the %u that failed after it\n",
			(unsigned long long)(offset + at), (unsigned long long)unit->is, unit->mays);
		return false;
	}
	return true;
}
