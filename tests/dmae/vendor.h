/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* GPU memory of CUDA, ROCm and Level Zero: of our stubs of their libraries. */
#ifndef TESTS_DMAE_VENDOR_H
#define TESTS_DMAE_VENDOR_H

#include <stddef.h>
#include <stdint.h>

struct vendor {
	const char *name, *soname;
	uint64_t (*allocate)(size_t size);
};

extern const struct vendor vendors[3];

/* Load the library, as a program that uses it has. */
void vendor_load(const struct vendor *v);
/* Device memory, which the CPU cannot reach there. */
void *vendor_allocate(size_t size);
/* Where the CPU finds what is at such an address. */
uint8_t *vendor_bytes(const void *addr);
/* How often one of its functions was called. */
unsigned long vendor_calls(const char *function);
/* The case fails if the library was not used as it has to be. */
void vendor_check(void);

#endif
