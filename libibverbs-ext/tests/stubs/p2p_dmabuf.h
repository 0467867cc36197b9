/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * A /dev/p2p_dmabuf for programs that are linked with --wrap=open and --wrap=ioctl: it
 * exports what was allocated here. open and ioctl can be had fail, with an errno; see
 * stub.h for this and the others.
 */
#ifndef STUB_P2P_DMABUF_H
#define STUB_P2P_DMABUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whole pages that an exporter has, which may be mapped read-only. */
uint64_t stub_p2p_dmabuf_allocate(size_t size, int exporter, bool readonly);
void stub_p2p_dmabuf_release(uint64_t addr);
/* The flags of the last export. */
uint32_t stub_p2p_dmabuf_flags(void);

unsigned long stub_p2p_dmabuf_calls(const char *name);
void stub_p2p_dmabuf_fail(const char *name, int err);
uint8_t *stub_p2p_dmabuf_bytes(uint64_t addr);
const char *stub_p2p_dmabuf_misuse(void);

#endif
