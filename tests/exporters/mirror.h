/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel's dmirror (TEST_HMM): a device that mirrors a process, and to which
 * the memory of the process migrates.
 */
#ifndef TESTS_EXPORTERS_MIRROR_H
#define TESTS_EXPORTERS_MIRROR_H

#include "../verbs/common.h"

struct mirror {
	int fd;
};

/* Of the calling process. Skips the case if there is no such device. */
struct mirror mirror_open(void);
void mirror_close(struct mirror *m);
/* Those pages that can; what the traffic is just at stays for now. */
void mirror_to_device(const struct mirror *m, void *addr, size_t len);
void mirror_to_host(const struct mirror *m, void *addr, size_t len);
/* How many pages of a range are on the device. */
size_t mirror_count(const struct mirror *m, void *addr, size_t len);

long mirror_counter(const char *name);	/* faults, p2p_maps, p2p_unmaps */
/* Peers get nothing, and the memory migrates for them. */
void mirror_refuse(bool refuse);
void mirror_balanced(void);

#endif
