/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Each RDMA device with each memory: the path, and what is in the way. */
#ifndef PAIRS_H
#define PAIRS_H

#include "inventory.h"
#include "way.h"

enum { PAIR_NOTES = 5 };

struct pair {
	const struct nic *nic;
	const struct memory *memory;
	struct path path;	/* as the kernel says, or else as sysfs looks */
	bool told;		/* the kernel did */
	enum path_kind looks;	/* what it looks like by sysfs alone */
	struct way way;
	unsigned int path_notes[PAIR_NOTES];	/* numbers, from 1 on; 0 ends them */
	unsigned int way_note;
};

enum note_kind { NOTE_ACS, NOTE_UNREAD, NOTE_TRANSLATED, NOTE_TEXT };

/* What pairs have in common. Which fields are of use depends on the kind. */
struct note {
	enum note_kind kind;
	const struct function *below;	/* the bridge */
	struct ports ports;
	char *text;
};

struct pairs {
	const struct inventory *inventory;
	struct kernel kernel;
	struct pair *pairs;
	size_t nr;
	struct note *notes;
	size_t nr_notes;
};

/* What of the inventory is asked about. */
struct shown {
	const struct nic **nics;
	size_t nr_nics;
	const struct memory **memories;
	size_t nr_memories;
};

/* Row after row: the first RDMA device with all memories comes first. */
struct pairs pairs_new(const struct inventory *inventory, const struct shown *shown);
/* One RDMA device with one memory. */
struct pairs pairs_one(const struct inventory *inventory, const struct nic *nic,
		       const struct memory *memory);
void pairs_free(struct pairs *pairs);

enum { ADVICE_COMMANDS = PATH_PORTS };

/* A note in words. */
struct advice {
	char *text;
	char *commands[ADVICE_COMMANDS];	/* until the next boot */
	size_t nr;
	char *boot;	/* a kernel parameter that does the same, or NULL */
	const char *cost;	/* what that gives up, or NULL */
};

/* kernel or sysfs: who said it. */
const char *source_name(bool told);
struct advice advice_of(const struct note *note);
void advice_free(struct advice *advice);
/* "request, completion": what of a port's ACS control redirects. free() it. */
char *acs_text(uint16_t control);

#endif
