// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "pairs.h"

/* ---- notes: one for all pairs that have the same in the way ---- */

static unsigned int note_new(struct pairs *p, const struct note *note)
{
	p->notes = grow(p->notes, p->nr_notes + 1, sizeof(*p->notes));
	p->notes[p->nr_notes++] = *note;
	return p->nr_notes;
}

/* Takes the text. */
static unsigned int note_text(struct pairs *p, char *text)
{
	size_t i;

	for (i = 0; i < p->nr_notes; i++) {
		if (p->notes[i].kind != NOTE_TEXT || strcmp(p->notes[i].text, text))
			continue;
		free(text);
		return i + 1;
	}
	return note_new(p, &(struct note){ .kind = NOTE_TEXT, .text = text });
}

/* In the order of the functions, which is that of their addresses. */
static void insert(struct ports *ports, const struct function *port)
{
	size_t i = ports->nr;

	for (; i && ports->port[i - 1] > port; i--)
		ports->port[i] = ports->port[i - 1];
	ports->port[i] = port;
	ports->nr++;
}

static bool has(const struct ports *ports, const struct function *port)
{
	size_t i;

	for (i = 0; i < ports->nr; i++)
		if (ports->port[i] == port)
			return true;
	return false;
}

static void merge(struct ports *to, const struct ports *from)
{
	size_t i;

	for (i = 0; i < from->nr; i++)
		if (!has(to, from->port[i]) && to->nr < PATH_PORTS)
			insert(to, from->port[i]);
}

static unsigned int note_ports(struct pairs *p, enum note_kind kind,
			       const struct function *below, const struct ports *ports)
{
	size_t i;

	for (i = 0; i < p->nr_notes; i++)
		if (p->notes[i].kind == kind && p->notes[i].below == below)
			break;
	if (i == p->nr_notes)
		note_new(p, &(struct note){ .kind = kind, .below = below });
	merge(&p->notes[i].ports, ports);
	return i + 1;
}

static char *host_name(const struct topology *t, const char *root)
{
	const struct function *f = host_bridge(t, root);

	if (!f)
		return text_of("that of %s, which shows no function to tell it by", root);
	return text_of("%s [%04x:%04x]", f->name, f->vendor, f->device);
}

/* The host bridges of a path, or those that are not listed. */
static char *host_names(const struct topology *t, const struct path *path, bool unlisted)
{
	const char *a = path->from->root, *b = path->to->root, *swap;
	char *name_a, *name_b, *both;

	if (strcmp(a, b) > 0) {
		swap = a;
		a = b;
		b = swap;
	}
	if (unlisted && host_bridge_listed(host_bridge(t, a), true))
		a = b;
	if (unlisted && host_bridge_listed(host_bridge(t, b), true))
		b = a;
	name_a = host_name(t, a);
	if (!strcmp(a, b))
		return name_a;
	name_b = host_name(t, b);
	both = text_of("%s and %s", name_a, name_b);
	free(name_a);
	free(name_b);
	return both;
}

static char *unlisted_text(const struct path *path, const char *names)
{
	return text_of("The kernel refuses: its list of host bridges that forward "
		       "between their ports does not have %s (drivers/pci/p2pdma.c; "
		       "known here is that of Linux 6.12). %s", names,
		       path->common ? "Without the redirect none is passed." :
		       "There is nothing to set: move the devices below one PCIe switch; "
		       "or, if the vendor says that it forwards, have it put on the "
		       "list.");
}

static char *host_text(const struct topology *t, const struct path *path)
{
	const enum host_trust trust = host_trust(t, path->from, path->to);
	char *names = host_names(t, path, trust == HOST_UNLISTED), *text = NULL;

	switch (trust) {
	case HOST_ZEN:
		text = text_of("Not below one switch. The root complex of this CPU (AMD, "
			       "Zen or later) forwards between its ports. There is "
			       "nothing to set; below one PCIe switch it would be bus.");
		break;
	case HOST_LISTED:
		text = text_of("Not below one switch. The kernel's list of host bridges "
			       "that forward between their ports has %s. There is "
			       "nothing to set; below one PCIe switch it would be bus.",
			       names);
		break;
	case HOST_APART:
		text = text_of("The kernel refuses: %s are two host bridges, and forward "
			       "between the ports of one each. There is nothing to set: "
			       "move the devices below one of them, or one switch.",
			       names);
		break;
	case HOST_UNLISTED:
		text = unlisted_text(path, names);
		break;
	}
	free(names);
	return text;
}

static void add_number(struct pair *pair, unsigned int number)
{
	size_t i = 0;

	while (i < PAIR_NOTES - 1 && pair->path_notes[i])
		i++;
	pair->path_notes[i] = number;
}

static const struct ports *self(const struct path *path, struct ports *ports)
{
	*ports = (struct ports){ .port = { path->from }, .nr = 1 };
	return ports;
}

/*
 * What anybody can see: groups were made when the kernel booted, and devices below one
 * switch share one unless its ports redirect.
 */
static char *groups_text(const struct path *path)
{
	if (!*path->from->iommu_group || !*path->to->iommu_group)
		return NULL;
	if (!strcmp(path->from->iommu_group, path->to->iommu_group))
		return NULL;
	return text_of("?: they are in different IOMMU groups, so the ports between them "
		       "did redirect when the kernel booted.");
}

static void note_unread(struct pairs *p, struct pair *pair)
{
	char *groups = groups_text(&pair->path);

	add_number(pair, note_ports(p, NOTE_UNREAD, pair->path.common,
				    &pair->path.unread));
	if (groups)
		add_number(pair, note_text(p, groups));
}

static void note_path(struct pairs *p, struct pair *pair)
{
	const struct topology *t = &p->inventory->topology;
	const struct path *path = &pair->path;
	const enum host_trust trust = host_trust(t, path->from, path->to);
	struct ports ports;

	if (path->redirect.nr && path->kind != PATH_BUS)
		add_number(pair, note_ports(p, NOTE_ACS, path->common, &path->redirect));
	if (path->kind == PATH_UNKNOWN)
		note_unread(p, pair);
	if ((path->kind == PATH_NONE && !host_forwards(trust)) ||
	    (path->kind == PATH_HOST && !path->common && host_forwards(trust)))
		add_number(pair, note_text(p, host_text(t, path)));
	if (path->kind == PATH_HOST && path->translated)
		add_number(pair, note_ports(p, NOTE_TRANSLATED, NULL, self(path,
									   &ports)));
}

static void note_no_pci(struct pairs *p, struct pair *pair)
{
	const struct nic *nic = pair->nic;

	if (nic->can->copies)
		add_number(pair, note_text(p, text_of("%s copies with the CPU, so PCI is "
			"not asked for a path: as fast, or slow, as the CPU reads and "
			"writes the device's memory.", nic->driver)));
	else if (pair->path.kind == PATH_NONE)
		add_number(pair, note_text(p, text_of("%s is not a PCI device, and the "
			"kernel knows a path between PCI devices only.", nic->name)));
}

/* ---- pairs ---- */

static const char *translated_text(enum path_kind kind, bool translated)
{
	return kind == PATH_HOST && translated ? "+iommu" : "";
}

/* What looks unknown is no other answer, but why is worth to know. */
static void note_difference(struct pairs *p, struct pair *pair, bool translated)
{
	const struct path *path = &pair->path;

	if (pair->looks == PATH_UNKNOWN && path->kind != PATH_BUS)
		add_number(pair, note_text(p, text_of("Both are below one bridge, so a "
			"port between them redirects (ACS). Root sees which: sudo "
			"ibv_p2pinfo.")));
	if (pair->looks == PATH_UNKNOWN ||
	    (pair->looks == path->kind &&
	     (path->kind != PATH_HOST || path->translated == translated)))
		return;
	add_number(pair, note_text(p, text_of("The kernel says %s%s. By sysfs it looks "
		"like %s%s, with the rules of Linux 6.12; the kernel knows its own.",
		path_name(path->kind), translated_text(path->kind, path->translated),
		path_name(pair->looks), translated_text(pair->looks, translated))));
}

static void ask_told(struct pairs *p, struct pair *pair)
{
	const struct told *told = nic_told(pair->nic, pair->memory->function);
	const bool translated = pair->path.translated;

	pair->looks = pair->path.kind;
	if (told) {
		pair->told = true;
		pair->path.kind = told->kind;
		pair->path.translated = told->translated;
		note_difference(p, pair, translated);
	} else if (*pair->nic->unasked) {
		add_number(pair, note_text(p, text_of("%s", pair->nic->unasked)));
	}
}

static void add_pair(struct pairs *p, const struct nic *nic, const struct memory *memory)
{
	struct pair *pair = &p->pairs[p->nr++];

	*pair = (struct pair){ .nic = nic, .memory = memory };
	if (nic->function) {
		pair->path = path_find(&p->inventory->topology, nic->function,
				       memory->function);
		ask_told(p, pair);
		note_path(p, pair);
	} else {
		pair->path.kind = nic->can->copies ? PATH_CPU : PATH_NONE;
		ask_told(p, pair);
		note_no_pci(p, pair);
	}
	pair->way = way_find(&p->kernel, nic, memory, &pair->path);
}

struct pairs pairs_new(const struct inventory *inventory, const struct shown *shown)
{
	struct pairs p = { .inventory = inventory, .kernel = kernel_way() };
	size_t row, column, i;

	p.pairs = allocate(shown->nr_nics * shown->nr_memories + 1, sizeof(*p.pairs));
	for (row = 0; row < shown->nr_nics; row++)
		for (column = 0; column < shown->nr_memories; column++)
			add_pair(&p, shown->nics[row], shown->memories[column]);
	/* Of ways after those of paths: they are shown in this order. */
	for (i = 0; i < p.nr; i++)
		p.pairs[i].way_note = note_text(&p, text_of("%s", p.pairs[i].way.reason));
	return p;
}

struct pairs pairs_one(const struct inventory *inventory, const struct nic *nic,
		       const struct memory *memory)
{
	return pairs_new(inventory, &(struct shown){ &nic, 1, &memory, 1 });
}

void pairs_free(struct pairs *p)
{
	size_t i;

	for (i = 0; i < p->nr; i++)
		free(p->pairs[i].way.reason);
	for (i = 0; i < p->nr_notes; i++)
		free(p->notes[i].text);
	free(p->pairs);
	free(p->notes);
}

/* ---- in words ---- */

const char *source_name(bool told)
{
	return told ? "kernel" : "sysfs";
}

char *acs_text(uint16_t control)
{
	const char *const request = control & ACS_REQUEST ? "request" : "";
	const char *const completion = control & ACS_COMPLETION ? "completion" : "";
	const char *const egress = control & ACS_EGRESS ? "egress" : "";

	return text_of("%s%s%s%s%s", request, *request && *completion ? ", " : "",
		       completion, (*request || *completion) && *egress ? ", " : "",
		       egress);
}

/* Their names, after each other: separated, or each followed by what it redirects. */
static char *list_ports(const struct ports *ports, const char *separator, bool acs)
{
	char *list = text_of("%s", ""), *longer, *what;
	size_t i;

	for (i = 0; i < ports->nr; i++) {
		what = acs ? acs_text(ports->port[i]->acs_control) : NULL;
		longer = text_of("%s%s%s%s%s%s", list, i ? separator : "",
				 ports->port[i]->name, acs ? " (" : "", acs ? what : "",
				 acs ? ")" : "");
		free(what);
		free(list);
		list = longer;
	}
	return list;
}

static struct advice advice_acs(const struct note *note)
{
	char *list = list_ports(&note->ports, ", ", true);
	char *names = list_ports(&note->ports, ";", false);
	struct advice a = {
		.text = text_of("ACS redirect is on below %s: what one device sends to "
				"the other goes up to the host bridge. By %s.",
				note->below->name, list),
		.boot = text_of("'pci=disable_acs_redir=%s'", names),
		.cost = "isolation. The devices below these ports then reach each other "
			"past the IOMMU: not on a machine that gives one of them to a VM "
			"or to a driver in user space. Booted that way they share an "
			"IOMMU group; setpci lasts until a reset or the next boot, and "
			"the groups do not show it.",
	};

	for (a.nr = 0; a.nr < note->ports.nr; a.nr++)
		a.commands[a.nr] = text_of("setpci -s %s ECAP_ACS+6.w=0:%02x",
					   note->ports.port[a.nr]->name, ACS_REDIRECT);
	free(list);
	free(names);
	return a;
}

/* ACS is in the part of the configuration space that only root can read. */
static struct advice advice_unread(const struct note *note)
{
	char *list = list_ports(&note->ports, ", ", false);
	struct advice a = {
		.text = text_of("?: needs root. Both are below %s, so the path is bus, "
				"unless one of these redirects (ACS), which only root "
				"can see: %s. Then it is host, or none.",
				note->below->name, list),
		.commands = { text_of("sudo ibv_p2pinfo") },
		.nr = 1,
	};

	free(list);
	return a;
}

static const char *passthrough(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return "iommu=pt";
#else
	return "iommu.passthrough=1";
#endif
}

static struct advice advice_translated(const struct note *note)
{
	char *list = list_ports(&note->ports, ", ", false);
	struct advice a = {
		.text = text_of("The IOMMU translates what %s sends: that works, but an "
				"access may have to wait for a lookup.", list),
		.boot = text_of("%s", passthrough()),
		.cost = "protection. A device whose firmware or driver goes wrong can "
			"then reach all memory of the host. VMs are still kept apart.",
	};

	free(list);
	return a;
}

struct advice advice_of(const struct note *note)
{
	switch (note->kind) {
	case NOTE_ACS:
		return advice_acs(note);
	case NOTE_UNREAD:
		return advice_unread(note);
	case NOTE_TRANSLATED:
		return advice_translated(note);
	default:
		return (struct advice){ .text = text_of("%s", note->text) };
	}
}

void advice_free(struct advice *a)
{
	size_t i;

	for (i = 0; i < a->nr; i++)
		free(a->commands[i]);
	free(a->text);
	free(a->boot);
}
