/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Linux defines for ublk, block devices served by a process: commands of io_uring's
 * IORING_OP_URING_CMD, in 128-byte entries, on /dev/ublk-control and /dev/ublkcN. Taken down here,
 * since the headers of Linux 6.1 lack half of it; the names are linux/ublk_cmd.h's, which is never included.
 *
 * Life of a device: ADD_DEV; SET_PARAMS; /dev/ublkcN is opened; one thread a queue FETCHes every tag; START_DEV,
 * which returns after the last FETCH and makes /dev/ublkbN. A FETCH completes with a request, described in the
 * mapped descriptor of its tag; COMMIT_AND_FETCH, from the same thread, answers it and asks for the next. STOP_DEV
 * ends each with ENODEV; DEL_DEV. A device with USER_RECOVERY whose server dies is quiesced: START_USER_RECOVERY, the
 * same again from the opening on, END_USER_RECOVERY. With USER_COPY a request's data stay with the kernel, and are
 * read and written at UBLK_DATA_OFFSET of /dev/ublkcN.
 */
#ifndef TRESOR_ABI_UBLK_H
#define TRESOR_ABI_UBLK_H

#include <stdint.h>

#define UBLK_CONTROL	"/dev/ublk-control"

/* Control commands, as _IOR and _IOWR of 'u' and a struct ublk_control_command encode them. */
#define UBLK_GET_DEV_INFO	0x80207502
#define UBLK_ADD_DEV		0xc0207504
#define UBLK_DEL_DEV		0xc0207505
#define UBLK_START_DEV		0xc0207506
#define UBLK_STOP_DEV		0xc0207507
#define UBLK_SET_PARAMS		0xc0207508
#define UBLK_GET_PARAMS		0x80207509
#define UBLK_START_USER_RECOVERY 0xc0207510
#define UBLK_END_USER_RECOVERY	0xc0207511
#define UBLK_GET_FEATURES	0x80207513
#define UBLK_UPDATE_SIZE	0xc0207515	/* since Linux 6.16 */

/* Commands of a queue, of 'u' and a struct ublk_queue_command. */
#define UBLK_FETCH_REQ		0xc0107520
#define UBLK_COMMIT_AND_FETCH_REQ 0xc0107521

struct ublk_control_command {
	uint32_t dev_id;
	uint16_t queue_id;	/* UBLK_NO_QUEUE */
	uint16_t len;		/* bytes at addr */
	uint64_t addr;
	uint64_t data;		/* START_DEV, END_USER_RECOVERY: the server's process; UPDATE_SIZE: sectors of 512 */
	uint16_t dev_path_len;
	uint16_t pad;
	uint32_t reserved;
};
#define UBLK_NO_QUEUE	0xffff

/* ADD_DEV, GET_DEV_INFO. */
struct ublk_device_info {
	uint16_t nr_hw_queues;
	uint16_t queue_depth;
	uint16_t state;
	uint16_t pad0;
	uint32_t max_io_buf_bytes;
	uint32_t dev_id;		/* UBLK_ANY_ID: the kernel chooses */
	uint32_t ublksrv_pid;
	uint32_t pad1;
	uint64_t flags;
	uint64_t ublksrv_flags;		/* the server's own: the kernel keeps them */
	uint32_t owner_uid;
	uint32_t owner_gid;
	uint64_t reserved1;
	uint64_t reserved2;
};
#define UBLK_ANY_ID	0xffffffff

/* States. */
#define UBLK_DEAD	0	/* not started, or stopped */
#define UBLK_LIVE	1
#define UBLK_QUIESCED	2	/* its server died */

/* Features and flags. */
#define UBLK_USER_RECOVERY		(1 << 3)
#define UBLK_USER_RECOVERY_REISSUE	(1 << 4)
#define UBLK_CMD_IOCTL_ENCODE		(1 << 6)
#define UBLK_USER_COPY			(1 << 7)
#define UBLK_CAN_UPDATE_SIZE		(1 << 10)

/* SET_PARAMS, GET_PARAMS. */
struct ublk_basic {
	uint32_t attrs;
	uint8_t logical_bs_shift;
	uint8_t physical_bs_shift;
	uint8_t io_opt_shift;
	uint8_t io_min_shift;
	uint32_t max_sectors;		/* of 512 bytes, as all that follow */
	uint32_t chunk_sectors;
	uint64_t dev_sectors;
	uint64_t virt_boundary_mask;
};

struct ublk_discard {
	uint32_t discard_alignment;	/* bytes */
	uint32_t discard_granularity;	/* bytes */
	uint32_t max_discard_sectors;
	uint32_t max_write_zeroes_sectors;
	uint16_t max_discard_segments;	/* 1 */
	uint16_t reserved0;
};

struct ublk_params {
	uint32_t len;
	uint32_t types;
	struct ublk_basic basic;
	struct ublk_discard discard;
};

#define UBLK_TYPE_BASIC		(1 << 0)
#define UBLK_TYPE_DISCARD	(1 << 1)	/* WRITE_ZEROES too */

#define UBLK_READ_ONLY		(1 << 0)
#define UBLK_VOLATILE_CACHE	(1 << 2)	/* without it no FLUSH comes, and no FUA */
#define UBLK_FUA		(1 << 3)

/* A queue's descriptors, one a tag: mapped read-only, at queue * UBLK_DESCRIPTORS_STRIDE, in whole pages. */
struct ublk_descriptor {
	uint32_t op_flags;
	uint32_t nr_sectors;
	uint64_t start_sector;
	uint64_t addr;
};
#define UBLK_DESCRIPTORS_STRIDE	98304

#define UBLK_OP_MASK		0xff
#define UBLK_OP_READ		0
#define UBLK_OP_WRITE		1
#define UBLK_OP_FLUSH		2
#define UBLK_OP_DISCARD		3
#define UBLK_OP_WRITE_ZEROES	5
#define UBLK_OP_FUA		(1 << 13)	/* of op_flags */

struct ublk_queue_command {
	uint16_t q_id;
	uint16_t tag;
	int32_t result;			/* of COMMIT: bytes, or a negative errno */
	uint64_t addr;
};

/* A request's data with USER_COPY: pread(2) of a write's, pwrite(2) of a read's. */
#define UBLK_DATA_OFFSET(queue, tag) (0x80000000ull + ((uint64_t)(queue) << 41) + ((uint64_t)(tag) << 25))

_Static_assert(sizeof(struct ublk_control_command) == 32, "ublk");
_Static_assert(sizeof(struct ublk_device_info) == 64, "ublk");
_Static_assert(sizeof(struct ublk_descriptor) == 24, "ublk");
_Static_assert(sizeof(struct ublk_queue_command) == 16, "ublk");

#endif
