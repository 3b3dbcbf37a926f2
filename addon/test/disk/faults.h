/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system below addon/disk with faults: the linker puts this in the place of
 * uring_enter and uring_peek, and of the calls that the pool, disk.c and plain.c
 * make (--wrap, addon/Makefile). Every call is really made; what it answers, and
 * when, is changed. Without a plan nothing is.
 */
#ifndef TRESOR_TEST_DISK_FAULTS_H
#define TRESOR_TEST_DISK_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/disk/queue.h"

enum fault {
	FAULT_NONE,
	FAULT_ENTER_REFUSED,	/* EPERM, as by a seccomp filter that came later; only by faults_always */
	/* Of a submission: io_uring_enter(2). */
	FAULT_ENTER_EINTR,
	FAULT_ENTER_EAGAIN,
	FAULT_ENTER_EBUSY,
	FAULT_ENTER_PARTIAL,	/* the kernel takes half of the entries, one at least */
	FAULT_ENTER_EARLY,	/* it takes all, and does not wait, as when a signal comes */
	/* Of a completion, or of the pool's system call. */
	FAULT_EINTR,
	FAULT_EAGAIN,
	FAULT_EAGAIN_ALWAYS,	/* of this request, however often it is begun */
	FAULT_EINTR_ALWAYS,
	FAULT_SHORT,	/* half, in blocks of O_DIRECT */
	FAULT_ODD,	/* less, and no multiple of anything */
	FAULT_ZERO,
	FAULT_EIO,
	FAULT_ENOSPC,
	FAULT_ENODEV,
	FAULT_NEVER,	/* it does not come */
	FAULT_COUNT,
};
#define FAULT_ENTER_FIRST	FAULT_ENTER_EINTR
#define FAULT_END_FIRST		FAULT_EINTR

/* A request that a fault met. */
struct fault_hit {
	enum fault fault;
	enum disk_op op;
	uint64_t offset;	/* of what was left of it */
	uint32_t length;
	bool direct;
	uint64_t at;	/* faults_clock() */
};

/* From now on counted from 0; `fault` at the submission, or the completion, of that number. */
void faults_plan(enum fault fault, unsigned at);
/* Faults of all kinds but FAULT_NEVER in about one of `every`, until `most` errors have been given. */
void faults_random(uint64_t seed, unsigned every, unsigned most);
/* For every completion of `op`, or every submission. */
void faults_always(enum fault fault, enum disk_op op);
/* None any more; what never came stays away. */
void faults_stop(void);
/* What never came comes now: threads of the pool go on. Rings' completions are lost with their rings. */
void faults_release(void);

/* Completions do not come while it is paused; what they will answer is decided before by the pool, after by a ring. */
void faults_pause(bool paused);

/* Since the plan was made. */
unsigned faults_submissions(void);
unsigned faults_completions(void);
/* The last one whose result was changed; false: none. */
bool faults_hit(struct fault_hit *hit);
/* Completions that do not come. */
unsigned faults_held(void);

/* Moments, for order: each call is later than all before it. */
uint64_t faults_clock(void);
/* Whether an fdatasync that was begun after `from` has ended well by now. */
bool faults_synced(uint64_t from);
/* Of fdatasync(2) calls: begun, and under way at one time at most. */
unsigned faults_syncs(void);
unsigned faults_syncs_at_once(void);
/* Writes that asked for RWF_DSYNC; past the page cache (`direct`) or through it. */
unsigned faults_durable_writes(bool direct);
/* preadv2 with RWF_NOWAIT and pwritev: what plain.c does at once. */
unsigned faults_cached_reads(void);
unsigned faults_cached_writes(void);
/* Each pwritev sleeps that long. */
void faults_slow_writes(unsigned ms);

/*
 * Commands of io_uring for a driver that is not there: the entry, before the kernel has it, to be made into
 * another; and what its completion, or any other that is not a disk's, is said to have answered. Or NULL.
 */
extern void (*faults_command)(struct uring *ring, struct io_uring_sqe *entry);
extern int32_t (*faults_commanded)(const struct uring *ring, uint64_t user_data, int32_t result);

/* What system calls are refused with; 0: they are not. */
struct refusals {
	int setup, probe, files, buffers, cancel, cachestat, thread, eventfd, reopen;
	bool control;	/* /dev/ublk-control opens, and is nothing */
	bool cached, uncached;	/* what cachestat(2) says, whatever is */
	unsigned threads;	/* that start before `thread` is given */
	unsigned allocation;	/* atomic: the malloc or calloc of that number from now on, of 1; 0: none */
};
extern struct refusals refusals;

#endif
