/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_VDSO_H
#define TRESOR_VDSO_H

/* Address of a function of an ELF image mapped by the kernel (getauxval(AT_SYSINFO_EHDR)), or NULL. */
void *tresor_vdso_symbol(const void *image, const char *name);

#endif
