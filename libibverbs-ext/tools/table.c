// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum { GAP = 2 };

struct table table_new(size_t columns)
{
	return (struct table){ .columns = columns };
}

void table_add(struct table *table, enum colour colour, const char *format, ...)
{
	const size_t n = table->nr++;
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = allocate(1, 1);
	va_end(args);
	table->cells = grow(table->cells, table->nr, sizeof(*table->cells));
	table->colours = grow(table->colours, table->nr, sizeof(*table->colours));
	table->cells[n] = text;
	table->colours[n] = colour;
}

static int column_width(const struct table *table, size_t column)
{
	size_t i, width = 0;

	for (i = column; i < table->nr; i += table->columns)
		if (strlen(table->cells[i]) > width)
			width = strlen(table->cells[i]);
	return width;
}

/* The padding is printed before the cell that follows: no line ends with blanks. */
static int print_cell(const struct table *table, size_t cell, int padding)
{
	const char *text = table->cells[cell];
	const enum colour colour = table->colours[cell];

	if (!*text)
		return padding + column_width(table, cell % table->columns) + GAP;
	printf("%*s%s%s%s", padding, "", colour_on(colour), text, colour_off(colour));
	return column_width(table, cell % table->columns) - (int)strlen(text) + GAP;
}

static void print_columns(const struct table *table, int indent, size_t from, size_t to)
{
	size_t row, column;
	int padding;

	for (row = 0; row < table->nr; row += table->columns) {
		padding = print_cell(table, row, indent);
		for (column = from; column < to; column++)
			padding = print_cell(table, row + column, padding);
		putchar('\n');
	}
}

/* The first that does not fit any more; at least one does. */
static size_t fit(const struct table *table, int room, size_t from)
{
	size_t column = from;

	do
		room -= GAP + column_width(table, column++);
	while (column < table->columns &&
	       GAP + column_width(table, column) <= room);
	return column;
}

static void table_free(struct table *table)
{
	size_t i;

	for (i = 0; i < table->nr; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table->colours);
	*table = (struct table){};
}

void table_print(struct table *table, int indent, int width)
{
	const int room = width - indent - column_width(table, 0);
	size_t from = 1, to;

	while (from < table->columns) {
		to = fit(table, room, from);
		print_columns(table, indent, from, to);
		from = to;
		if (from < table->columns)
			putchar('\n');
	}
	table_free(table);
}
