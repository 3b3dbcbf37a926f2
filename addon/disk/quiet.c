/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/quiet.h"

/*
 * Who enters counts first and looks at the range then; who sets the range writes it first and looks at the counts then.
 * In one order of all these accesses, one of them sees the other.
 */
bool quiet_enter(struct quiet *quiet, uint64_t offset, uint64_t length, unsigned *turn)
{
	uint64_t end;

	*turn = __atomic_load_n(&quiet->turn, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&quiet->under_way[*turn], 1, __ATOMIC_SEQ_CST);
	/* The end is written last, so that its start is there. */
	end = __atomic_load_n(&quiet->end, __ATOMIC_SEQ_CST);
	if (offset >= end || offset + length <= __atomic_load_n(&quiet->start, __ATOMIC_SEQ_CST))
		return true;
	quiet_leave(quiet, *turn);
	return false;
}

void quiet_leave(struct quiet *quiet, unsigned turn)
{
	__atomic_fetch_sub(&quiet->under_way[turn], 1, __ATOMIC_SEQ_CST);
}

bool quiet_set(struct quiet *quiet, uint64_t start, uint64_t end)
{
	const unsigned next = !quiet->turn;

	if (__atomic_load_n(&quiet->under_way[next], __ATOMIC_SEQ_CST) != 0)
		return false;
	__atomic_store_n(&quiet->start, start, __ATOMIC_SEQ_CST);
	__atomic_store_n(&quiet->end, end, __ATOMIC_SEQ_CST);
	__atomic_store_n(&quiet->turn, next, __ATOMIC_SEQ_CST);
	return true;
}

bool quiet_reached(const struct quiet *quiet)
{
	return __atomic_load_n(&quiet->under_way[!quiet->turn], __ATOMIC_SEQ_CST) == 0;
}

void quiet_clear(struct quiet *quiet)
{
	__atomic_store_n(&quiet->end, 0, __ATOMIC_SEQ_CST);
}
