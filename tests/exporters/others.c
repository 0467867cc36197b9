// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "others.h"

void others_start(struct others *o)
{
	int i;

	o->mem[0] = mem_open(HOST, 0, KIB(256));
	o->mem[1] = mem_open(GPU1, REMOVAL_AT1, KIB(256));
	for (i = 0; i < OTHERS; i++) {
		o->v[i] = (struct verifier) {
			.mr = o->mem[i].mr, .addr = o->mem[i].addr,
			.len = o->mem[i].len, .view = o->mem[i].addr,
		};
		verify_start(&o->v[i], 100 + i);
	}
}

void others_flow(struct others *o)
{
	int i;

	for (i = 0; i < OTHERS; i++)
		verify_flows(&o->v[i]);
}

void others_end(struct others *o)
{
	int i;

	for (i = 0; i < OTHERS; i++) {
		verify_end(&o->v[i]);
		mem_close(&o->mem[i]);
	}
}
