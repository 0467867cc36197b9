// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <stdlib.h>
#include <string.h>

#include "p2pinfo.h"
#include "pairs.h"

static void print_labelled(const char *indent, const char *label, const char *text)
{
	char *lead = text_of("%s%-11s", indent, label);

	print_paragraph(lead, text);
	free(lead);
}

static void print_commands(const char *indent, const struct advice *advice)
{
	size_t i;
	char *lead;

	for (i = 0; i < advice->nr; i++) {
		lead = text_of("%s%-11s", indent, i ? "" : "now:");
		print_command(lead, advice->commands[i]);
		free(lead);
	}
	if (!advice->boot)
		return;
	lead = text_of("%s%-11s", indent, "or boot:");
	print_command(lead, advice->boot);
	free(lead);
}

void print_advice(const char *lead, const struct advice *advice)
{
	char *indent = text_of("%*s", (int)strlen(lead), "");

	print_paragraph(lead, advice->text);
	print_commands(indent, advice);
	if (advice->cost)
		print_labelled(indent, "gives up:", advice->cost);
	free(indent);
}

void advice_add_json(struct json_object *to, const struct advice *advice)
{
	struct json_object *commands = json_object_new_array();
	size_t i;

	for (i = 0; i < advice->nr; i++)
		json_object_array_add(commands,
				      json_object_new_string(advice->commands[i]));
	json_add_text(to, "text", advice->text);
	json_object_object_add(to, "commands", commands);
	json_add_text(to, "boot", advice->boot);
	json_add_text(to, "gives_up", advice->cost);
}

char *note_numbers(const unsigned int *numbers, size_t nr)
{
	char *list = text_of("%s", ""), *longer;
	size_t i;

	for (i = 0; i < nr && numbers[i]; i++) {
		longer = text_of("%s%s%u", list, i ? "," : "[", numbers[i]);
		free(list);
		list = longer;
	}
	longer = text_of("%s%s", list, i ? "]" : "");
	free(list);
	return longer;
}
