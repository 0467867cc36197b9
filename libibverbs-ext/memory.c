// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* The kinds of memory, and which of them the user lets us ask. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"

static const struct memory_kind *const kinds[] = {
	&memory_cuda, &memory_rocm, &memory_ze,
	/* A library that knows what is mapped as well knows more of it. */
	&memory_p2p_dmabuf,
};

enum { NR_KINDS = sizeof(kinds) / sizeof(*kinds) };

/* Those in IBV_P2P_MEMORY, a list of names; without it all. */
static bool allowed[NR_KINDS];

static bool in_list(const char *list, const char *name)
{
	const size_t length = strlen(name);
	size_t n;

	for (; *list; list += n + (list[n] == ',')) {
		n = strcspn(list, ",");
		if (n == length && !strncmp(list, name, n))
			return true;
	}
	return false;
}

__attribute__((constructor)) static void read_environment(void)
{
	const char *list = secure_getenv("IBV_P2P_MEMORY");
	int i;

	for (i = 0; i < NR_KINDS; i++)
		allowed[i] = !list || in_list(list, kinds[i]->name);
}

void tried_add(struct tried *tried, const char *name, const char *what)
{
	const size_t used = strlen(tried->text);

	snprintf(tried->text + used, sizeof(tried->text) - used, "%s: %s\n", name,
		 what);
}

const char *memory_export(uint64_t addr, size_t length, struct memory_dmabuf *dmabuf,
			  struct tried *tried)
{
	int i, err, first_err = ENOENT;
	struct memory_why why;

	*tried->text = '\0';
	for (i = 0; i < NR_KINDS; i++) {
		if (!allowed[i]) {
			tried_add(tried, kinds[i]->name, "not in IBV_P2P_MEMORY");
			continue;
		}
		why_say(&why, "not its memory");
		err = memory_kind_export(kinds[i], addr, length, dmabuf, &why);
		if (!err)
			return kinds[i]->name;
		tried_add(tried, kinds[i]->name, why.text);
		/* EIO: it could not say, so it may be anybody's. */
		if (err == ENOENT || err == EIO)
			continue;
		if (first_err == ENOENT)
			first_err = err;
		/* What a library cannot export may be mapped as well. */
		if (err != EOPNOTSUPP)
			break;
	}
	errno = first_err;
	return NULL;
}

/* Of an allocation, one byte says it for all. */
bool memory_has_dmabuf(uint64_t addr, bool write)
{
	struct memory_dmabuf dmabuf = { .write = write };
	struct tried tried;

	if (!memory_export(addr, 1, &dmabuf, &tried))
		return false;
	close(dmabuf.fd);
	return true;
}

int memory_query(uint64_t addr, struct ibv_p2p_addr_attr *attr)
{
	int i;

	for (i = 0; i < NR_KINDS; i++)
		if (allowed[i] && !memory_kind_query(kinds[i], addr, attr))
			return 0;
	return ENOENT;
}
