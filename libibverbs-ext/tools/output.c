// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "output.h"

enum { WIDTH = 100, JSON_VERSION = 1 };

static void no_memory(void)
{
	complain("out of memory");
	exit(NO_ANSWER);
}

void *allocate(size_t nr, size_t size)
{
	void *p = calloc(nr, size);

	if (!p)
		no_memory();
	return p;
}

void *grow(void *array, size_t nr, size_t size)
{
	array = reallocarray(array, nr, size);
	if (!array)
		no_memory();
	return array;
}

char *text_of(const char *format, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		no_memory();
	return text;
}

void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

void complain(const char *format, ...)
{
	va_list args;

	/* In the order in which it was said, where both go to one place. */
	fflush(stdout);
	va_start(args, format);
	fputs("ibv_p2pinfo: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

/* ---- for people ---- */

bool output_coloured(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && *no_color) &&
	       !(term && !strcmp(term, "dumb"));
}

const char *colour_on(enum colour colour)
{
	static const char *const codes[] = {
		[PLAIN] = "", [BOLD] = "\033[1m", [GREEN] = "\033[32m",
		[YELLOW] = "\033[33m", [RED] = "\033[31m",
	};

	return output_coloured() ? codes[colour] : "";
}

const char *colour_off(enum colour colour)
{
	return colour != PLAIN && output_coloured() ? "\033[0m" : "";
}

int output_width(void)
{
	struct winsize size;

	if (isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) &&
	    size.ws_col)
		return size.ws_col;
	return WIDTH;
}

void print_paragraph(const char *lead, const char *text)
{
	const int indent = strlen(lead), width = output_width();
	int at = indent, word;

	fputs(lead, stdout);
	for (; *text; text += word) {
		text += strspn(text, " ");
		word = strcspn(text, " ");
		if (at > indent && at + 1 + word > width) {
			printf("\n%*s", indent, "");
			at = indent;
		} else if (at > indent) {
			putchar(' ');
			at++;
		}
		printf("%.*s", word, text);
		at += word;
	}
	putchar('\n');
}

void print_command(const char *lead, const char *command)
{
	printf("%s%s%s%s\n", lead, colour_on(BOLD), command, colour_off(BOLD));
}

const char *size_text(char text[SIZE_TEXT], uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	const size_t nr = sizeof(units) / sizeof(*units);
	size_t unit = 0;

	while (unit + 1 < nr && bytes >= 1024 && !(bytes % 1024)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, SIZE_TEXT, "%" PRIu64 " %s", bytes, units[unit]);
	return text;
}

const char *rate_text(char text[SIZE_TEXT], uint64_t bytes_a_second)
{
	const double rate = bytes_a_second;

	if (rate >= 1e9)
		snprintf(text, SIZE_TEXT, "%.2f GB/s", rate / 1e9);
	else
		snprintf(text, SIZE_TEXT, "%.2f MB/s", rate / 1e6);
	return text;
}

/* ---- from people ---- */

bool parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	int shift = 0;

	errno = 0;
	*size = strtoull(text, &end, 0);
	if (end == text || errno || *text == '-')
		return false;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		end++;
	}
	if (*end || *size > UINT64_MAX >> shift)
		return false;
	*size <<= shift;
	return true;
}

/* ---- for programs ---- */

void json_add_text(struct json_object *to, const char *key, const char *text)
{
	json_object_object_add(to, key, text ? json_object_new_string(text) : NULL);
}

void json_add_size(struct json_object *to, const char *key, uint64_t size)
{
	json_object_object_add(to, key, json_object_new_uint64(size));
}

void json_add_number(struct json_object *to, const char *key, int64_t number)
{
	json_object_object_add(to, key, json_object_new_int64(number));
}

void json_add_bool(struct json_object *to, const char *key, bool is)
{
	json_object_object_add(to, key, json_object_new_boolean(is));
}

void json_add_address(struct json_object *to, const char *key, uint64_t address)
{
	char text[SIZE_TEXT];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	json_add_text(to, key, text);
}

struct json_object *json_new(void)
{
	struct json_object *object = json_object_new_object();

	json_add_number(object, "version", JSON_VERSION);
	return object;
}

void json_print(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}
