/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/bell.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The kernel has room for twice as many. */
#define EVENTS	32

int bell_open(struct bell *bell, int null)
{
	*bell = (struct bell){ .null = null };
	return syscall(SYS_io_setup, 2 * EVENTS, &bell->context) == 0 ? 0 : errno;
}

void bell_close(struct bell *bell)
{
	syscall(SYS_io_destroy, bell->context);
}

void bell_ring(struct bell *bell, int fd)
{
	struct io_event events[EVENTS];
	uint8_t nothing;
	struct iocb read = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)bell->null,
		.aio_buf = (uintptr_t)&nothing,
		.aio_nbytes = sizeof(nothing),
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list = &read;

	if (fd < 0)
		return;
	if (bell->rung == EVENTS) {
		bell->rung = 0;
		syscall(SYS_io_getevents, bell->context, 0, EVENTS, events, NULL);
	}
	/* /dev/null answers inside the call. */
	if (syscall(SYS_io_submit, bell->context, 1, &list) == 1)
		bell->rung++;
}

bool bell_hear(int fd)
{
	uint64_t count;
	const struct iovec place = { &count, sizeof(count) };
	const ssize_t got = preadv2(fd, &place, 1, -1, RWF_NOWAIT);

	return got == sizeof(count) || (got < 0 && errno == EAGAIN);
}
