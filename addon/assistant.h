/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_ASSISTANT_H
#define TRESOR_ASSISTANT_H

#include <stdbool.h>

/*
 * One thread of the process that takes one job at a time off another thread's
 * hands. A job touches neither JavaScript nor its thread's other data.
 *
 * assistant_offer() returns false when there is no use in it: the thread is
 * taken, came too late of late, or there is one CPU; then nothing was begun.
 * After true the caller must call assistant_settle(), which does the job itself
 * when the thread has not begun, and else returns when it is done. So at worst
 * a job is done where it would have been done without all this.
 */
bool assistant_offer(void (*job)(void *), void *argument);
void assistant_settle(void);

#endif
