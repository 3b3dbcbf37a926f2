/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_DISPATCH_H
#define TRESOR_DISPATCH_H

#include "enclave.h"

/*
 * Which operations an image has. dispatch.c says it for the product, and
 * vectors/dispatch.c for the image that tests and measures.
 */

union tresor_request {
	struct tresor_head head;
	struct tresor_hello hello;
	struct tresor_challenge challenge;
	struct tresor_report report;
	struct tresor_create create;
	struct tresor_unlock unlock;
	struct tresor_enrol enrol;
	struct tresor_sectors sectors;
	struct tresor_close close;
	struct tresor_legacy legacy;
	struct tresor_blocks blocks;
	struct tresor_selftest selftest;
	struct tresor_benchmark benchmark;
	struct tresor_assist assist;
	struct tresor_bequeath bequeath;
	struct tresor_inherit inherit;
	struct tresor_reencrypt reencrypt;
	struct tresor_zone zone;
	struct tresor_convert convert;
	struct tresor_approve approve;
	struct tresor_yield yield;
	struct tresor_take_over take_over;
	struct tresor_finish finish;
};

/* Of the operation's struct; 0: there is no such operation. */
uint32_t tresor_size_of(uint32_t op);
/* enum tresor_status. For an operation that tresor_state_check admitted. */
uint32_t tresor_dispatch(union tresor_request *request, void *scratch);

#endif
