/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* What all commands need to say something. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_PRINTF(at) __attribute__((format(printf, at, at + 1)))

enum exit_status {
	ANSWER_YES = 0,		/* or what was asked for */
	ANSWER_NO = 1,
	WRONG_USAGE = 2,
	NO_ANSWER = 3,
};

enum colour { PLAIN, BOLD, GREEN, YELLOW, RED };

/* Zeroed; there is no return without memory. */
void *allocate(size_t nr, size_t size);
void *grow(void *array, size_t nr, size_t size);
char *text_of(const char *format, ...) OUTPUT_PRINTF(1);
/* What others have named may have control characters and bad UTF-8: '?' instead. */
void make_printable(char *text);

/* On standard error, with the name of the program. */
void complain(const char *format, ...) OUTPUT_PRINTF(1);

/* On a terminal, unless NO_COLOR is set. */
bool output_coloured(void);
const char *colour_on(enum colour colour);
const char *colour_off(enum colour colour);
int output_width(void);
/* In lines that fit; the first begins with lead, and the others are below its text. */
void print_paragraph(const char *lead, const char *text);
/* For a shell or a boot loader, which must not find a line break in it. */
void print_command(const char *lead, const char *command);

/* 64 GiB, 12.34 GB/s. In a buffer of the caller's. */
enum { SIZE_TEXT = 32 };
const char *size_text(char text[SIZE_TEXT], uint64_t bytes);
const char *rate_text(char text[SIZE_TEXT], uint64_t bytes_a_second);

/* A number that may end in K, M, G or T. False: it is none. */
bool parse_size(const char *text, uint64_t *size);

/* NULL is null. */
void json_add_text(struct json_object *to, const char *key, const char *text);
void json_add_size(struct json_object *to, const char *key, uint64_t size);
void json_add_number(struct json_object *to, const char *key, int64_t number);
void json_add_bool(struct json_object *to, const char *key, bool is);
/* As a string, "0x...": numbers of 64 bits are more than JSON readers can hold. */
void json_add_address(struct json_object *to, const char *key, uint64_t address);
struct json_object *json_new(void);	/* with the version of its keys */
void json_print(struct json_object *object);	/* and free it */

#endif
