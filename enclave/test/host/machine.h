/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine around the enclave's C, compiled for the host: a CPU that answers
 * ENCLU, host memory, and the sender of sealed requests (OpenSSL, none of the
 * enclave's own ciphers).
 */
#ifndef TEST_MACHINE_H
#define TEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "enclave.h"
#include "main.h"

#define ASSERT(claim) do { \
	if (!(claim)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #claim); \
		abort(); \
	} \
} while (0)

/* What EREPORT and EGETKEY know; tests change it between calls. */
struct machine {
	uint8_t secret[16];
	uint8_t mrenclave[32], mrsigner[32], cpu_svn[16];
	uint64_t attributes, xfrm;
	uint16_t isv_prod_id, isv_svn;
	uint8_t report_key_id[32];
	uint64_t draws;		/* RDRAND and RDSEED count on from here; 0: they are the CPU's */
};
extern struct machine machine;

/* Which of the two images is entered; see images.c. */
enum image { EITHER, PRODUCT, VECTORS };
extern enum image image;

/* Host memory. The first part is for pointers, the rest is room behind them. */
#define ARENA_POINTERS	(8u << 20)
#define ARENA_SIZE	(512u << 20)
extern uint8_t *arena;
/* The range that stands for ELRANGE: any touch faults. */
extern const uint64_t tresor_test_base;

void machine_start(void);
/* The private half of the running enclave's channel key. */
const uint8_t *machine_channel_secret(void);
/* Two enclaves that run at the same time are one after the other here, each with the key it had. */
void machine_set_channel(const uint8_t secret[32], const uint8_t public[32]);
/* HELLO again, as another enclave instance of today's `machine`. */
void machine_restart(void);
/* Enters with the request copied to host memory; copies it back. Returns the status. */
uint32_t enter(void *request);
uint32_t enter_bytes(void *request, size_t size);
/* Enters with whatever lies where enter() puts requests, which may change meanwhile. */
uint32_t enter_again(void);

void challenge(uint32_t purpose, uint8_t nonce[32]);
/* TRESOR_ADMIT_* of the requests sealed from now on; everything at first. */
extern uint32_t sender_flags;
/*
 * Seals to `where` in the arena, for the running enclave and for `request` as it
 * is now: any change to its public parameters afterwards is a forgery.
 */
void seal_request(void *request, uint8_t *where, uint32_t purpose, const char *uuid,
		  uint32_t slot, uint32_t fresh_slot, const void *existing, uint32_t existing_size,
		  const void *fresh, uint32_t fresh_size);

/* A small volume as a caller would describe it, PBKDF2 with few iterations. */
void describe_segment(struct tresor_segment *segment);
void describe_digest(struct tresor_digest *digest);
void describe_keyslot(struct tresor_keyslot *keyslot, uint32_t slot, bool sealed, uint8_t *area,
		      void *sealed_at);

#define HEAD(type, number) { .op = TRESOR_OP_##number, .size = sizeof(struct type) }
#define UUID "12345678-1234-4234-8234-123456789abc"

#endif
