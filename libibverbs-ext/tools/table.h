/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Columns that line up. */
#ifndef TABLE_H
#define TABLE_H

#include <stddef.h>

#include "output.h"

struct table {
	size_t columns;
	size_t nr;		/* cells, row after row */
	char **cells;
	enum colour *colours;
};

struct table table_new(size_t columns);
void table_add(struct table *table, enum colour colour, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * Indented, and free it. What does not fit into width is printed below, columns with
 * the first one again.
 */
void table_print(struct table *table, int indent, int width);

#endif
