/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/ublk/control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "addon/disk/uring.h"

/* 0: it is the kernel's, and will complete. */
static int submit(struct uring *ring)
{
	int error;

	do {
		error = uring_enter(ring, 0);
	} while (error == -EINTR || error == -EAGAIN);
	return uring_unsubmitted(ring) == 0 ? 0 : error;
}

static int wait_for(struct uring *ring)
{
	const struct io_uring_cqe *end;
	int result;

	/* It has our memory: whatever enter says, there is no way back before it has ended. */
	while ((end = uring_peek(ring)) == NULL)
		uring_enter(ring, 1);
	result = end->res;
	uring_seen(ring);
	return result;
}

int ublk_control(uint32_t operation, const struct ublk_control_command *command)
{
	const int device = open(UBLK_CONTROL, O_RDWR | O_CLOEXEC);
	struct io_uring_sqe *entry;
	struct uring ring;
	int result;

	if (device < 0)
		return -errno;
	result = uring_open(&ring, 1, true);
	if (result == 0) {
		entry = uring_sqe(&ring);
		entry->opcode = IORING_OP_URING_CMD;
		entry->fd = device;
		entry->cmd_op = operation;
		memcpy(entry->cmd, command, sizeof(*command));
		result = submit(&ring);
		if (result == 0)
			result = wait_for(&ring);
		uring_close(&ring);
	}
	close(device);
	return result;
}
