/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/sgx/refuse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool tresor_refuse(struct tresor_error *error, const char *code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	snprintf(error->code, sizeof(error->code), "%s", code);
	vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	return false;
}

bool tresor_refuse_errno(struct tresor_error *error, const char *what)
{
	const char *name = strerrorname_np(errno);

	return tresor_refuse(error, name != NULL ? name : "EIO", "%s: %s", what, strerrordesc_np(errno));
}
