/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Buffers of the GPUs that QEMU has and the kernel has DRM drivers for. They
 * are in memory of the host until something needs them in VRAM.
 */
#ifndef TESTS_EXPORTERS_DISPLAY_H
#define TESTS_EXPORTERS_DISPLAY_H

#include "../verbs/common.h"

/* A DRM driver, and how it is made to move what is in VRAM. */
struct gpu {
	const char *driver;
	bool scans_out;		/* what is shown has to be in VRAM */
	const char *vram;	/* in debugfs: how much of it is taken */
};

extern const struct gpu bochs, qxl;

struct display {
	const struct gpu *gpu;
	int fd, minor;
	char pci[256];		/* the device's folder in sysfs */
};

/* Skips the case if the machine has no such GPU. */
struct display display_open(const struct gpu *gpu);
void display_close(struct display *d);
/* Bytes of VRAM that are taken. */
size_t display_vram_used(const struct display *d);
/* Take the device away from its driver, or give it back. */
void display_bind(const struct display *d, bool bind);

struct vram {
	uint32_t handle, fb;
	uint64_t map_offset;	/* for mmap() of the display's file */
	uint8_t *addr;
	size_t len;
};

struct vram vram_open(const struct display *d, size_t len);
void vram_close(const struct display *d, struct vram *v);
/* Scan it out: it moves to VRAM, and is pinned there until another one is. */
void vram_show(const struct display *d, struct vram *v);
/* Give a buffer, its mapping aside, back to the GPU. */
void vram_free(const struct display *d, const struct vram *v);

#endif
