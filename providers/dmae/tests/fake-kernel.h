/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * One RDMA device for libibverbs, without a kernel: what it sends there arrives
 * here, and is answered from here.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <rdma/rdma_user_ioctl_cmds.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_DEVICE		"abi7"
#define FAKE_DEVICE_ABI		7
#define FAKE_CORE_SUPPORT	0x1122334455667788
#define FAKE_COMP_VECTORS	19
#define FAKE_MR_HANDLE		0x501
#define FAKE_LKEY		0x502
#define FAKE_RKEY		0x503

struct fake_kernel {
	/* What arrived last: by write(), what comes after the headers ... */
	uint32_t command;
	size_t request_size;
	_Alignas(8) unsigned char request[512];
	void *response;
	size_t response_size;
	/* ... or by ioctl(). */
	struct ib_uverbs_ioctl_hdr ioctl;
	struct ib_uverbs_attr attrs[16];
	/* What write() answers next, or zeros. */
	const void *answer;
	size_t answer_size;
};

extern struct fake_kernel kernel;

/* The device is there, in a sysfs of ours. */
void fake_kernel_start(void);
void fake_kernel_unplug(void);
void fake_kernel_stop(void);

/* The attribute of the last ioctl, or NULL. */
const struct ib_uverbs_attr *fake_kernel_attr(uint16_t id);

#endif /* FAKE_KERNEL_H */
