/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* What is printed meanwhile, in one line, without blanks that follow each other. */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stdio.h>
#include <unistd.h>

struct capture {
	FILE *file;
	int out;
};

static inline struct capture capture_begin(void)
{
	struct capture c = { .file = tmpfile(), .out = dup(STDOUT_FILENO) };

	fflush(stdout);
	dup2(fileno(c.file), STDOUT_FILENO);
	return c;
}

/* The text is good until the next one. */
static inline const char *capture_end(struct capture *c)
{
	static char text[8192];
	char *from, *to = text;

	fflush(stdout);
	dup2(c->out, STDOUT_FILENO);
	close(c->out);
	rewind(c->file);
	text[fread(text, 1, sizeof(text) - 1, c->file)] = '\0';
	fclose(c->file);
	for (from = text; *from; from++) {
		*to = *from == '\n' ? ' ' : *from;
		if (to == text || *to != ' ' || to[-1] != ' ')
			to++;
	}
	*to = '\0';
	return text;
}

#endif
