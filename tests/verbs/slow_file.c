// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A file system with one file, whose server reads all requests, but keeps those
 * for pages until it is told to answer.
 */
#include "slow_file.h"

#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILE_ID = 2, MAX_WRITE = 128 << 10, MAX_READS = 4096 };

struct server {
	int fuse;
	int gate;
	size_t len;
	uint64_t seed;
	bool serves;
	volatile unsigned int *nr_reads;	/* that wait */
	struct { uint64_t unique, offset; uint32_t size; } reads[MAX_READS];
	char request[MAX_WRITE + 4096] __attribute__((aligned(8)));
	uint8_t page[MAX_WRITE];
};

static void answer(struct server *s, uint64_t unique, int error,
		   const void *data, size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + len, .error = error, .unique = unique,
	};
	struct iovec iov[2] = {
		{ &out, sizeof(out) }, { (void *)data, len },
	};

	/* ENOENT: nobody waits for it any more. */
	if (writev(s->fuse, iov, len ? 2 : 1) < 0 && errno != ENOENT)
		_exit(1);
}

static void answer_read(struct server *s, uint64_t unique, uint64_t offset,
			uint32_t size)
{
	if (offset >= s->len)
		size = 0;
	else if (size > s->len - offset)
		size = s->len - offset;
	pattern_fill(s->page, size, s->seed, offset);
	answer(s, unique, 0, s->page, size);
}

static struct fuse_attr attr_of(const struct server *s, uint64_t id)
{
	bool file = id == FILE_ID;

	return (struct fuse_attr) {
		.ino = id,
		.size = file ? s->len : 0,
		.mode = file ? S_IFREG | 0600 : S_IFDIR | 0700,
		.nlink = 1,
		.blksize = 4096,
	};
}

static void serve(struct server *s)
{
	const struct fuse_in_header *in = (void *)s->request;
	const struct fuse_read_in *read_in = (void *)(in + 1);
	const struct fuse_init_in *init = (void *)(in + 1);
	const struct fuse_write_in *write_in = (void *)(in + 1);

	switch (in->opcode) {
	case FUSE_INIT: {
		struct fuse_init_out out = {
			.major = FUSE_KERNEL_VERSION,
			.minor = FUSE_KERNEL_MINOR_VERSION,
			.max_readahead = init->max_readahead,
			.flags = FUSE_ASYNC_READ,
			.max_background = MAX_READS,
			.congestion_threshold = MAX_READS,
			.max_write = MAX_WRITE,
		};

		answer(s, in->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = {
			.nodeid = FILE_ID, .entry_valid = 3600,
			.attr_valid = 3600, .attr = attr_of(s, FILE_ID),
		};

		answer(s, in->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_GETATTR:
	case FUSE_SETATTR: {
		struct fuse_attr_out out = {
			.attr_valid = 3600, .attr = attr_of(s, in->nodeid),
		};

		answer(s, in->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_OPEN: {
		struct fuse_open_out out = { .fh = 1 };

		answer(s, in->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_READ:
		if (s->serves) {
			answer_read(s, in->unique, read_in->offset, read_in->size);
		} else if (*s->nr_reads < MAX_READS) {
			s->reads[*s->nr_reads].unique = in->unique;
			s->reads[*s->nr_reads].offset = read_in->offset;
			s->reads[(*s->nr_reads)++].size = read_in->size;
		}
		break;
	case FUSE_WRITE: {
		struct fuse_write_out out = { .size = write_in->size };

		answer(s, in->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_FSYNC:
		answer(s, in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(s, in->unique, -ENOSYS, NULL, 0);
	}
}

static void serve_all_that_wait(struct server *s)
{
	unsigned int i;

	s->serves = true;
	for (i = 0; i < *s->nr_reads; i++)
		answer_read(s, s->reads[i].unique, s->reads[i].offset,
			    s->reads[i].size);
	*s->nr_reads = 0;
}

static void run_server(struct server *s)
{
	struct pollfd fds[] = {
		{ .fd = s->fuse, .events = POLLIN },
		{ .fd = s->gate, .events = POLLIN },
	};

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			_exit(1);
		if (fds[1].revents && !s->serves) {
			serve_all_that_wait(s);
			fds[1].fd = -1;
		}
		if (!fds[0].revents)
			continue;
		if (read(s->fuse, s->request, sizeof(s->request)) < 0) {
			if (errno == ENODEV)
				_exit(0);
			continue;
		}
		serve(s);
	}
}

static pid_t start_server(int fuse, int gate, size_t len, uint64_t seed,
			  volatile unsigned int *nr_reads)
{
	pid_t pid = fork();

	if (!pid) {
		struct server *s = calloc(1, sizeof(*s));

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		s->fuse = fuse;
		s->gate = gate;
		s->len = len;
		s->seed = seed;
		s->nr_reads = nr_reads;
		run_server(s);
	}
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	return pid;
}

struct slow_file slow_file_open(size_t len, uint64_t seed)
{
	struct slow_file f = { .len = len };
	char dir[] = "/run/slow-XXXXXX", path[64], options[128];
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC), gate[2], fd;

	if (fuse < 0)
		skip("/dev/fuse: %s", strerror(errno));
	if (pipe(gate) || !mkdtemp(dir))
		fail("no pipe or no folder in /run: %s", strerror(errno));
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse);
	if (mount("slow", dir, "fuse", MS_NOSUID | MS_NODEV, options))
		fail("mount of FUSE: %s", strerror(errno));
	f.waiting = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (f.waiting == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	f.server = start_server(fuse, gate[0], len, seed, f.waiting);
	f.gate = gate[1];
	close(fuse);
	close(gate[0]);

	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail("open of %s: %s", path, strerror(errno));
	if (umount2(dir, MNT_DETACH) || rmdir(dir))
		fail("umount of %s: %s", dir, strerror(errno));
	f.addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (f.addr == MAP_FAILED)
		fail("mmap of %s: %s", path, strerror(errno));
	close(fd);
	return f;
}

void slow_file_serve(struct slow_file *f)
{
	if (write(f->gate, "", 1) != 1)
		fail("the server of a slow file is gone: %s", strerror(errno));
}
