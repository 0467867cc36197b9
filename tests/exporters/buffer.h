/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Buffers of p2p_sample, the kernel's sample of an exporter that moves memory.
 * Environment, in addition to common.h's: P2P_SAMPLE, the path of the module.
 */
#ifndef TESTS_EXPORTERS_BUFFER_H
#define TESTS_EXPORTERS_BUFFER_H

#include "../verbs/common.h"

#include <p2p_sample.h>

/*
 * Before the first case and after the last: load the module and bind GPU 0, and
 * undo that. Without the module, sample_need() in a case skips it.
 */
void sample_load(void);
void sample_unload(void);
void sample_need(void);
/*
 * Bind a PCI device without a driver by its folder in sysfs, and unbind it as it
 * is, open files or not: 0, or -1 with errno.
 */
int sample_bind(const char *folder);
int sample_unbind(const char *folder);
/* Unload the module, and the errno of that. */
int sample_rmmod(void);

struct buffer {
	int fd;
	uint8_t *addr;
	size_t len;
};

/* Open, of GPU 0 or of the device of that name, and map from the first byte on. */
struct buffer buffer_open(size_t len);
struct buffer buffer_open_on(const char *path, size_t len);
void *buffer_map_at(const struct buffer *b, void *at, size_t offset, size_t len);
void buffer_close(struct buffer *b);
/* An ioctl, and the errno that it gave. */
int buffer_try(const struct buffer *b, unsigned long request, void *arg);
void buffer_move(const struct buffer *b, uint32_t where, uint32_t ranges);
struct p2p_sample_place buffer_where(const struct buffer *b);
void buffer_revoke(const struct buffer *b);
void buffer_invalidate(const struct buffer *b);

/* A counter or a lever in debugfs, a parameter of the module. */
long sample_counter(const char *name);
void sample_lever(const char *name, long value);
void sample_param(const char *name, const char *value);
/* What the exporter knows the RDMA device under test as. */
const char *importer_name(void);
/* In a process of its own, at the place where an old buffer was. */
void buffer_works_anew(size_t len, uint64_t place);
/* Every mapping that was made has been ended. */
void sample_balanced(void);

#endif
