/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* The commands of ibv_p2pinfo. Each gets what is after its name. */
#ifndef P2PINFO_H
#define P2PINFO_H

#include "output.h"

struct options {
	bool json;
	uint64_t length;	/* 0: not given */
	bool force;
	/* Of mr: */
	uint32_t pid;		/* 0: of any process */
	const char *device;	/* NULL: of any */
	bool all;
	double watch;		/* seconds; 0: once */
};

enum exit_status matrix_command(const struct options *options, int argc, char **argv);
enum exit_status addr_command(const struct options *options, int argc, char **argv);
enum exit_status mr_command(const struct options *options, int argc, char **argv);
enum exit_status test_command(const struct options *options, int argc, char **argv);

struct advice;
void print_advice(const char *lead, const struct advice *advice);
void advice_add_json(struct json_object *to, const struct advice *advice);
/* Numbers of notes, "[1,3]", or "". free() it. */
char *note_numbers(const unsigned int *numbers, size_t nr);

#endif
