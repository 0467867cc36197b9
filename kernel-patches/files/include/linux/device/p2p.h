/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Can one device access the memory of another?
 */
#ifndef _DEVICE_P2P_H_
#define _DEVICE_P2P_H_

struct device;

/**
 * enum p2p_path - how an importer reaches the memory of an exporter
 * @P2P_PATH_NONE: it does not.
 * @P2P_PATH_CPU: the importer does no DMA, its driver copies with the CPU
 *	(soft-RoCE). Its "DMA addresses" are kernel virtual addresses.
 * @P2P_PATH_BUS: by bus address, without passing the host bridge: both
 *	devices are below one switch that does not redirect (PCI ACS).
 * @P2P_PATH_HOST: through the host bridge, and the importer's IOMMU where it
 *	has one: by the address that dma_map_resource() returns.
 */
enum p2p_path {
	P2P_PATH_NONE,
	P2P_PATH_CPU,
	P2P_PATH_BUS,
	P2P_PATH_HOST,
};

enum p2p_path device_test_p2p(struct device *importer, struct device *exporter);

#endif /* _DEVICE_P2P_H_ */
