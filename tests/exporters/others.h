/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Verified traffic to memory that has nothing to do with the exporter that goes
 * away or is reset: of the host, and of GPU 1.
 */
#ifndef TESTS_EXPORTERS_OTHERS_H
#define TESTS_EXPORTERS_OTHERS_H

#include "../verbs/verify.h"

enum { OTHERS = 2 };

struct others {
	struct mem mem[OTHERS];
	struct verifier v[OTHERS];
};

void others_start(struct others *o);
/* Wait until all of it has gone on. */
void others_flow(struct others *o);
void others_end(struct others *o);

#endif
