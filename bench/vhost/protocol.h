/* SPDX-License-Identifier: Apache-2.0 */
/* vhost-user as its specification (QEMU, docs/interop/vhost-user.rst) has it: what a front-end of blocks sends. */
#ifndef BENCH_VHOST_PROTOCOL_H
#define BENCH_VHOST_PROTOCOL_H

#include <stdint.h>

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	RESET_OWNER = 4,
	SET_MEM_TABLE = 5,
	SET_LOG_BASE = 6,
	SET_LOG_FD = 7,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	SET_BACKEND_REQ_FD = 21,
	GET_CONFIG = 24,
	SET_CONFIG = 25,
	GET_INFLIGHT_FD = 31,
	SET_INFLIGHT_FD = 32,
	RESET_DEVICE = 34,
	GET_MAX_MEM_SLOTS = 36,
	ADD_MEM_REG = 37,
	REM_MEM_REG = 38,
};

/* What a back-end sends on the channel of SET_BACKEND_REQ_FD. */
enum backend_request { BACKEND_CONFIG_CHANGE = 2 };

/* Flags of a message. */
#define VERSION		1u
#define VERSION_MASK	3u
#define IS_REPLY	4u
#define NEED_REPLY	8u

/* The bit of the features that opens those of the protocol. */
#define FEATURE_PROTOCOL	30

enum protocol_feature {
	PROTOCOL_MQ = 0,
	PROTOCOL_REPLY_ACK = 3,
	PROTOCOL_BACKEND_REQ = 5,
	PROTOCOL_CONFIG = 9,
	PROTOCOL_INFLIGHT = 12,
	PROTOCOL_MEM_SLOTS = 15,
};

/* In the payload of SET_VRING_KICK, CALL and ERR: no descriptor comes along. */
#define NO_DESCRIPTOR	0x100u

#define REGIONS_MAX	8u	/* of one SET_MEM_TABLE */
#define DESCRIPTORS_MAX	8u	/* of one message */

struct head {
	uint32_t request, flags, size;
};

struct vring_number {
	uint32_t index, number;
};

struct vring_addresses {
	uint32_t index, flags;
	uint64_t descriptors, used, available, log;
};

struct region {
	uint64_t guest, size, user, offset;
};

struct memory_table {
	uint32_t count, padding;
	struct region regions[REGIONS_MAX];
};

struct one_region {
	uint64_t padding;
	struct region region;
};

#define CONFIG_MAX	256u
#define CONFIG_SIZE	60u	/* as of virtio 1.1, up to the write zeroes */

struct config {
	uint32_t offset, size, flags;
	uint8_t bytes[CONFIG_MAX];
};

struct inflight {
	uint64_t size, offset;
	uint16_t queues, queue_size;
	uint32_t padding;
};

/* Without the padding of C. */
#define INFLIGHT_SIZE	20u

#endif
