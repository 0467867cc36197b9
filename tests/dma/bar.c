// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* bar read|write RESOURCE OFFSET LENGTH: a PCI BAR to stdout, or stdin to it. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	if (argc != 5)
		errx(2, "usage: bar read|write RESOURCE OFFSET LENGTH");

	int fd = open(argv[2], O_RDWR);
	size_t offset = strtoul(argv[3], NULL, 0);
	size_t length = strtoul(argv[4], NULL, 0);
	size_t skip = offset % 4096;

	if (fd < 0)
		err(1, "%s", argv[2]);

	char *bar = mmap(NULL, skip + length, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, (off_t)(offset - skip));

	if (bar == MAP_FAILED)
		err(1, "mmap %s", argv[2]);
	if (!strcmp(argv[1], "read")) {
		if (fwrite(bar + skip, 1, length, stdout) != length ||
		    fflush(stdout))
			err(1, "stdout");
	} else if (fread(bar + skip, 1, length, stdin) != length) {
		errx(1, "stdin is shorter than %zu bytes", length);
	}
	return 0;
}
