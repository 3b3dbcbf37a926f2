/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both images in one process. The Makefile renames what each one's dispatch.c
 * defines; an entry goes to the image that tests ask for, by default to whichever
 * has the operation.
 */
#include "dispatch.h"
#include "machine.h"

uint32_t product_size_of(uint32_t op);
uint32_t product_dispatch(union tresor_request *request, void *scratch);
uint32_t vectors_size_of(uint32_t op);
uint32_t vectors_dispatch(union tresor_request *request, void *scratch);

enum image image = EITHER;

static bool product_serves(uint32_t op)
{
	return image == PRODUCT || (image == EITHER && product_size_of(op) != 0);
}

uint32_t tresor_size_of(uint32_t op)
{
	return product_serves(op) ? product_size_of(op) : vectors_size_of(op);
}

uint32_t tresor_dispatch(union tresor_request *request, void *scratch)
{
	return product_serves(request->head.op) ? product_dispatch(request, scratch) : vectors_dispatch(request, scratch);
}
