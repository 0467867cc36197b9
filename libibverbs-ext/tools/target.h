/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Memory to test with: the host's, or part of a BAR. */
#ifndef TARGET_H
#define TARGET_H

#include "inventory.h"
#include "p2pinfo.h"

struct target {
	const struct function *function;	/* NULL: memory of the host */
	unsigned int bar;
	uint64_t offset;
	size_t length;
	void *addr;
};

/*
 * PCI-ADDRESS[:BAR][+OFFSET] or "host". What keeps it from being one, or from being
 * touched without --force, has been said if it is not ANSWER_YES.
 */
enum exit_status target_parse(struct target *target, const struct topology *topology,
			      const struct options *options, const char *text);
enum exit_status target_map(struct target *target);
void target_unmap(struct target *target);
/* "0000:42:00.0 BAR 1 at 0x0, 1 MiB". free() it. */
char *target_text(const struct target *target);

#endif
