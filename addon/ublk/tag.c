/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/ublk/tag.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void ublk_tags_empty(struct ublk_tags *tags)
{
	tags->first = NULL;
	tags->last = &tags->first;
}

void ublk_tags_append(struct ublk_tags *tags, struct ublk_tag *tag)
{
	tag->next = NULL;
	*tags->last = tag;
	tags->last = &tag->next;
}

struct ublk_tag *ublk_tags_take(struct ublk_tags *tags)
{
	struct ublk_tag *tag = tags->first;

	if (tag == NULL)
		return NULL;
	tags->first = tag->next;
	if (tags->first == NULL)
		tags->last = &tags->first;
	return tag;
}

static bool send(const struct ublk_tag *tag, uint32_t operation, int32_t result)
{
	const struct ublk_queue *queue = tag->queue;
	const struct ublk_queue_command command = { .q_id = queue->index, .tag = tag->number, .result = result };
	struct io_uring_sqe *entry = disk_queue_sqe(plain_queue_disk(queue->plain));

	if (entry == NULL)
		return false;
	entry->opcode = IORING_OP_URING_CMD;
	entry->fd = queue->site->device;
	entry->cmd_op = operation;
	entry->user_data = (uint64_t)tag->number << 1 | 1;
	memcpy(entry->cmd, &command, sizeof(command));
	return true;
}

bool ublk_tag_fetch(struct ublk_tag *tag)
{
	return send(tag, UBLK_FETCH_REQ, 0);
}

bool ublk_tag_commit(struct ublk_tag *tag)
{
	return send(tag, UBLK_COMMIT_AND_FETCH_REQ, tag->result);
}

bool ublk_listen_for_wake(struct ublk_queue *queue)
{
	struct io_uring_sqe *entry = disk_queue_sqe(plain_queue_disk(queue->plain));

	if (entry == NULL)
		return false;
	entry->opcode = IORING_OP_READ;
	entry->fd = queue->wake;
	entry->addr = (uintptr_t)&queue->woken;
	entry->len = sizeof(queue->woken);
	entry->user_data = (uint64_t)UBLK_WAKE << 1 | 1;
	return true;
}

static void release(struct ublk_tag *tag)
{
	/* What was under way when the volume was locked ends after the queue's memory was wiped. */
	if (tag->memory != NULL && ublk_mode_of(tag->queue) != UBLK_SERVE)
		explicit_bzero(tag->memory, tag->length);
	if (tag->memory != NULL)
		arena_give(&tag->queue->arena, tag->memory, tag->length);
	tag->memory = NULL;
}

void ublk_tag_answer(struct ublk_tag *tag, int32_t result)
{
	struct ublk_queue *queue = tag->queue;

	release(tag);
	tag->lost = false;
	tag->result = result;
	if (result < 0)
		counter_add(&queue->counters.errors, 1);
	/* At the end of a thread that was asked to: the next server is given the request again. */
	if (queue->ending)
		return;
	if (!ublk_tag_commit(tag))
		ublk_tags_append(&queue->uncommitted, tag);
}

void ublk_tag_park(struct ublk_tag *tag)
{
	struct ublk_queue *queue = tag->queue;

	release(tag);
	ublk_tags_append(&queue->parked, tag);
	counter_add(&queue->counters.held, 1);
	/* Who has made the range quiet wakes the queue. */
	if (tag->io.quiet || ublk_mode_of(queue) != UBLK_SERVE || queue->starving || queue->ending)
		return;
	queue->starving = true;
	queue->site->starved(queue->site->context);
}

void ublk_tag_leave(struct ublk_tag *tag)
{
	tag->io.quiet = false;
	ublk_tag_park(tag);
}

bool ublk_tag_copy(const struct ublk_tag *tag, bool in)
{
	const struct ublk_queue *queue = tag->queue;
	const off_t at = (off_t)UBLK_DATA_OFFSET(queue->index, tag->number);
	ssize_t done;

	do {
		done = in ? pread(queue->site->device, tag->memory, tag->length, at) :
			    pwrite(queue->site->device, tag->memory, tag->length, at);
	} while (done < 0 && errno == EINTR);
	return done == (ssize_t)tag->length;
}
