/* SPDX-License-Identifier: Apache-2.0 */
/* Why something is refused, on its way to a JavaScript Error. */
#ifndef TRESOR_REFUSE_H
#define TRESOR_REFUSE_H

#include <stdbool.h>

struct tresor_error {
	char code[40];		/* SGX_<CHECK>, or an errno's name */
	char message[240];	/* one line: the fact found */
};

/* Always false, so that a check can end with `return tresor_refuse(...)`. */
bool tresor_refuse(struct tresor_error *error, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same from errno, with its name as code. */
bool tresor_refuse_errno(struct tresor_error *error, const char *what);

#endif
