/* SPDX-License-Identifier: Apache-2.0 */
/* What a tag's descriptor asks for, carried out on the volume: each request is answered, or parked, at its end. */
#ifndef TRESOR_UBLK_REQUEST_H
#define TRESOR_UBLK_REQUEST_H

#include <stdbool.h>

#include "addon/ublk/tag.h"

/* In no list, or the first of its own. False: it waits for memory, untouched; begin it again after a turn. */
bool ublk_request_begin(struct ublk_tag *tag);

#endif
