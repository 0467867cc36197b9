// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The host is short of memory: reclaim, compaction, huge pages that are split
 * and collapsed, and KSM take pages from under MRs, from any context, also from
 * one that may not wait, while device memory moves to and from the host. Every
 * byte of the traffic is verified.
 */
#include "../verbs/sysfs.h"
#include "../verbs/traffic.h"
#include "../verbs/verify.h"
#include "buffer.h"
#include "killer.h"
#include "mirror.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21		/* since Linux 5.4 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25	/* since Linux 6.1 */
#endif

enum { LEN = KIB(256), HUGE = MIB(2), PAGE = 4096, SOME = KIB(32) };
enum { RW = PROT_READ | PROT_WRITE };
enum { ODP = ACCESS_ALL | IBV_ACCESS_ON_DEMAND };

/* ---- the kernel's files ---- */

/* Of each page: where it is, and whether it is in memory or in swap. */
enum { PAGE_IN_SWAP = 62, PAGE_PRESENT = 63 };

static void pagemap(const void *addr, size_t len, uint64_t *entries)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	size_t n = len / PAGE * sizeof(*entries);

	if (pread(fd, entries, n, (uintptr_t)addr / PAGE * sizeof(*entries)) !=
	    (ssize_t)n)
		fail("/proc/self/pagemap: %s", strerror(errno));
	close(fd);
}

static size_t count_pages(const void *addr, size_t len, int bit)
{
	uint64_t *entries = malloc(len / PAGE * sizeof(*entries));
	size_t i, n = 0;

	pagemap(addr, len, entries);
	for (i = 0; i < len / PAGE; i++)
		n += entries[i] >> bit & 1;
	free(entries);
	return n;
}

/* Which of this process, in KiB, lie in huge pages that are mapped as such. */
static long huge_kib(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[128];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "AnonHugePages: %ld", &kib);
	if (f)
		fclose(f);
	if (kib < 0)
		fail("/proc/self/smaps_rollup does not tell");
	return kib;
}

static void advise(void *addr, size_t len, int advice)
{
	if (madvise(addr, len, advice))
		fail("madvise(%d) of %zu bytes: %s", advice, len,
		     strerror(errno));
}

/* ---- memory of all kinds, with verified traffic to it ---- */

enum { DEVICE, HMM, SMALL, LARGE, NR_KINDS };

struct bed {
	struct buffer buf;
	struct mirror mirror;
	uint8_t *addr[NR_KINDS];
	struct verifier v[NR_KINDS];
	pthread_t mover;
	atomic_bool stop;
};

static const size_t lens[NR_KINDS] = { LEN, LEN, LEN, 2 * HUGE };

static uint8_t *aligned_map(size_t len)
{
	uintptr_t p = (uintptr_t)host_map(len + HUGE);

	return (uint8_t *)((p + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
}

/* What the exporter does when it needs memory of the host, and gets none. */
static void try_move(const struct buffer *b, uint32_t where, uint32_t ranges)
{
	struct p2p_sample_place to = { .where = where, .ranges = ranges };
	int err = buffer_try(b, P2P_SAMPLE_MOVE, &to);

	if (err && err != ENOMEM)
		fail("move a buffer: %s", strerror(err));
}

/* Device memory goes to the host and comes back, meanwhile. */
static void *move(void *arg)
{
	struct bed *bed = arg;
	uint64_t random = seed_of("mover");

	while (!bed->stop) {
		uint64_t r = next_random(&random);

		switch (r % 4) {
		case 0:
			try_move(&bed->buf, P2P_SAMPLE_SYSTEM, 0);
			break;
		case 1:
			try_move(&bed->buf, P2P_SAMPLE_BAR, 1 << (r >> 8) % 6);
			break;
		case 2:
			mirror_to_device(&bed->mirror, bed->addr[HMM], LEN);
			break;
		case 3:
			mirror_to_host(&bed->mirror, bed->addr[HMM], LEN / 2);
			break;
		}
		usleep(slow ? 20000 : 2000);
	}
	return NULL;
}

static struct bed *bed_open(void)
{
	static struct bed bed;
	int i;

	bed.buf = buffer_open(LEN);
	bed.mirror = mirror_open();
	bed.addr[DEVICE] = bed.buf.addr;
	bed.addr[HMM] = host_map(LEN);
	bed.addr[SMALL] = host_map(LEN);
	bed.addr[LARGE] = aligned_map(2 * HUGE);
	advise(bed.addr[SMALL], LEN, MADV_NOHUGEPAGE);
	advise(bed.addr[LARGE], 2 * HUGE, MADV_HUGEPAGE);
	for (i = 0; i < NR_KINDS; i++) {
		bed.v[i] = (struct verifier) {
			.addr = bed.addr[i], .len = lens[i],
			.view = i == HMM ? NULL : bed.addr[i],
			.mr = reg(bed.addr[i], lens[i],
				  i == DEVICE ? ACCESS_ALL : ODP),
		};
		verify_start(&bed.v[i], i);
	}
	if (pthread_create(&bed.mover, NULL, move, &bed))
		fail("pthread_create failed");
	return &bed;
}

static void bed_flows(struct bed *bed)
{
	int i;

	for (i = 0; i < NR_KINDS; i++)
		verify_flows(&bed->v[i]);
}

static void bed_close(struct bed *bed)
{
	int i;

	bed_flows(bed);
	bed->stop = true;
	pthread_join(bed->mover, NULL);
	for (i = 0; i < NR_KINDS; i++) {
		verify_end(&bed->v[i]);
		dereg(bed->v[i].mr);
	}
	buffer_close(&bed->buf);
	sample_balanced();
	mirror_balanced();
	mirror_close(&bed->mirror);
}

/* ---- reclaim ---- */

/* Pages that reclaim may drop at any time: of a file, or not needed any more */
struct clean {
	uint8_t *addr, *want;
	struct ibv_mr *mr;
	struct mem in;
	struct pair pair;
};

static struct clean clean_open(uint8_t *addr)
{
	struct clean c = {
		.addr = addr, .want = malloc(LEN), .in = mem_open(HOST, 0, LEN),
		.mr = reg(addr, LEN, IBV_ACCESS_REMOTE_READ |
				     IBV_ACCESS_ON_DEMAND),
	};

	memcpy(c.want, addr, LEN);
	pair_open(&c.pair, IBV_QPT_RC, 0);
	return c;
}

static void clean_read(struct clean *c)
{
	want_rdma(&c->pair, IBV_WR_RDMA_READ, sge(&c->in, 0, LEN),
		  (uintptr_t)c->addr, c->mr->rkey, IBV_WC_SUCCESS,
		  "clean pages");
}

static void clean_close(struct clean *c)
{
	pair_close(&c->pair);
	mem_close(&c->in);
	dereg(c->mr);
	free(c->want);
}

/*
 * A part of a file that is large enough, and there: a library that we use. What
 * the program itself uses of it, too, MADV_PAGEOUT leaves alone.
 */
static uint8_t *file_map(void)
{
	Dl_info info;
	uint8_t *p;
	int fd;

	if (!dladdr((void *)(uintptr_t)EVP_sha256, &info))
		fail("dladdr: where is libcrypto?");
	fd = open(info.dli_fname, O_RDONLY);
	p = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, fd, MIB(2));
	if (fd < 0 || p == MAP_FAILED)
		fail("mmap of %s: %s", info.dli_fname, strerror(errno));
	close(fd);
	return p;
}

/* Each page is what it was, or dropped as a whole. */
static void lazy_check(const struct clean *c)
{
	static const uint8_t zero[PAGE];
	size_t i;

	for (i = 0; i < LEN; i += PAGE)
		if (memcmp(c->in.addr + i, zero, PAGE))
			same_check(c->in.addr + i, c->want + i, PAGE,
				   "a page that may be dropped");
}

static void run_reclaim(const void *arg)
{
	struct bed *bed = bed_open();
	struct clean file = clean_open(file_map()), lazy;
	uint8_t *p = host_map(LEN);
	size_t of_file, others;

	(void)arg;
	advise(p, LEN, MADV_NOHUGEPAGE);
	pattern_fill(p, LEN, seed_of(case_name()), 0);
	lazy = clean_open(p);
	clean_read(&file);
	clean_read(&lazy);
	advise(p, LEN, MADV_FREE);
	run_out_of_memory();
	bed_flows(bed);
	of_file = count_pages(file.addr, LEN, PAGE_PRESENT);
	others = count_pages(p, LEN, PAGE_PRESENT);
	note("of %d pages %zu of a file and %zu others are left",
	     (int)(LEN / PAGE), of_file, others);
	if (of_file == LEN / PAGE || others == LEN / PAGE)
		fail("reclaim dropped no page");
	clean_read(&file);
	same_check(file.in.addr, file.want, LEN, "pages of a file");
	clean_read(&lazy);
	lazy_check(&lazy);
	clean_close(&file);
	clean_close(&lazy);
	bed_close(bed);
}

/* Without being short of memory: what the process itself can ask for. */
static void run_pageout(const void *arg)
{
	struct bed *bed = bed_open();
	struct clean file = clean_open(file_map());
	size_t dropped = 0;
	int i;

	(void)arg;
	for (i = 0; i < (slow ? 5 : 30); i++) {
		clean_read(&file);
		advise(file.addr, LEN, MADV_PAGEOUT);
		advise(bed->addr[SMALL], LEN, MADV_PAGEOUT);
		advise(bed->addr[LARGE], 2 * HUGE, MADV_PAGEOUT);
		madvise(bed->addr[HMM], LEN, MADV_PAGEOUT);
		dropped += LEN / PAGE -
			   count_pages(file.addr, LEN, PAGE_PRESENT);
		clean_read(&file);
		same_check(file.in.addr, file.want, LEN, "pages of a file");
	}
	note("%zu times a page was dropped", dropped);
	if (!dropped)
		fail("no page was dropped");
	clean_close(&file);
	bed_close(bed);
}

/* ---- swap ---- */

/* The machine has a disk for that. */
static const char swap_disk[] = "/dev/vda";

static bool swap_on(void)
{
	char command[128];

	snprintf(command, sizeof(command),
		 "(mkswap %s && swapon %s) >/dev/null 2>&1", swap_disk,
		 swap_disk);
	return !system(command);
}

static void run_swap(const void *arg)
{
	struct bed *bed;
	size_t out = 0;
	int i;

	(void)arg;
	if (!swap_on())
		skip("nothing to swap to: no %s", swap_disk);
	bed = bed_open();
	for (i = 0; i < (slow ? 10 : 50); i++) {
		advise(bed->addr[SMALL], LEN, MADV_PAGEOUT);
		advise(bed->addr[LARGE], 2 * HUGE, MADV_PAGEOUT);
		madvise(bed->addr[HMM], LEN, MADV_PAGEOUT);
		out += count_pages(bed->addr[SMALL], LEN, PAGE_IN_SWAP);
		usleep(10000);
	}
	bed_close(bed);
	note("%zu times a page was seen in swap", out);
	if (!out)
		fail("nothing was swapped out");
	if (system("swapoff -a"))
		fail("swapoff fails");
}

/* ---- pages that move ---- */

/* How many pages are not where they were; @were: set to where they are now. */
static size_t moved_pages(const void *addr, size_t len, uint64_t *were)
{
	uint64_t *are = malloc(len / PAGE * sizeof(*are));
	const uint64_t pfn = (1ull << 55) - 1;
	size_t i, n = 0;

	pagemap(addr, len, are);
	for (i = 0; i < len / PAGE; i++)
		n += (are[i] & pfn) != (were[i] & pfn);
	memcpy(were, are, len / PAGE * sizeof(*are));
	free(are);
	return n;
}

static void run_compaction(const void *arg)
{
	struct bed *bed = bed_open();
	uint64_t were[LEN / PAGE];
	size_t moved = 0;
	int i;

	(void)arg;
	bed_flows(bed);
	pagemap(bed->addr[SMALL], LEN, were);
	for (i = 0; i < (slow ? 5 : 30); i++) {
		put_in("/proc/sys/vm", "compact_memory", "1");
		put_in("/proc/sys/vm", "drop_caches", "3");
		moved += moved_pages(bed->addr[SMALL], LEN, were);
	}
	note("%zu times a page has moved", moved);
	if (!moved)
		fail("no page has moved");
	bed_close(bed);
}

/* Other rights for one page, for a moment, split the huge page's entry. */
static void split_entry(uint8_t *page)
{
	protect(page, PAGE, RW | PROT_EXEC);
	protect(page, PAGE, RW);
}

static void run_huge_pages(const void *arg)
{
	struct bed *bed = bed_open();
	uint8_t *p = bed->addr[LARGE];
	uint64_t random = seed_of(case_name());
	long least = LONG_MAX, most = 0, kib;
	int i;

	(void)arg;
	for (i = 0; i < (slow ? 20 : 100); i++) {
		size_t at = next_random(&random) % (2 * HUGE / PAGE) * PAGE;

		split_entry(p + at);
		/* One page that goes to a device splits the page itself. */
		mirror_to_device(&bed->mirror, p + at, PAGE);
		kib = huge_kib();
		least = kib < least ? kib : least;
		mirror_to_host(&bed->mirror, p + at, PAGE);
		madvise(p, 2 * HUGE, MADV_COLLAPSE);
		kib = huge_kib();
		most = kib > most ? kib : most;
	}
	note("%ld to %ld KiB in huge pages", least, most);
	if (most - least < (long)(HUGE >> 10))
		fail("nothing was collapsed, or nothing was split");
	bed_close(bed);
}

/* ---- KSM ---- */

static const char ksm[] = "/sys/kernel/mm/ksm";

static void ksm_set(const char *run)
{
	put_in(ksm, "pages_to_scan", "2000");
	put_in(ksm, "sleep_millisecs", "5");
	put_in(ksm, "run", run);
}

static void wait_for_merge(void)
{
	double until = now() + patience(0);

	while (read_number(ksm, "pages_sharing") < LEN / PAGE / 2) {
		if (now() > until)
			fail("%ld pages were merged",
			     read_number(ksm, "pages_sharing"));
		usleep(1000);
	}
}

/* All pages are equal but this one, which has been written since. */
static void merged_check(const uint8_t *p, size_t odd, const uint8_t *page,
			 const char *what)
{
	size_t i;

	for (i = 0; i < LEN; i += PAGE)
		if (i != odd)
			same_check(p + i, page, PAGE, what);
}

/* RDMA reads what was merged, and what it writes is in one page only. */
static void run_ksm(const void *arg)
{
	struct mem host = mem_open(HOST, 0, LEN);
	struct bed *bed = bed_open();
	uint8_t *p = host_map(LEN), page[PAGE];
	struct ibv_mr *mr = reg(p, LEN, ODP);
	struct traffic *t;
	struct pair pair;
	int i;

	(void)arg;
	if (access(ksm, F_OK))
		skip("no KSM");
	advise(p, LEN, MADV_NOHUGEPAGE);
	advise(p, LEN, MADV_MERGEABLE);
	pair_open(&pair, IBV_QPT_RC, 0);
	t = traffic_start(REMOTE_READ, mr, p, SOME);
	ksm_set("1");
	for (i = 0; i < (slow ? 2 : 6); i++) {
		size_t odd = (i * 7 + 1) % (LEN / PAGE) * PAGE, at;

		pattern_fill(page, PAGE, seed_of("all") + i, 0);
		for (at = 0; at < LEN; at += PAGE)
			memcpy(host.addr + at, page, PAGE);
		want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&host, 0, LEN),
			  (uintptr_t)p, mr->rkey, IBV_WC_SUCCESS, "all alike");
		wait_for_merge();
		traffic_flows(t);
		exercise(mr, (uintptr_t)p + odd, PAGE, p + odd, "one of them");
		merged_check(p, odd, page, "one was written");
		want_rdma(&pair, IBV_WR_RDMA_READ, sge(&host, 0, LEN),
			  (uintptr_t)p, mr->rkey, IBV_WC_SUCCESS, "merged");
		merged_check(host.addr, odd, page, "read by RDMA");
	}
	ksm_set("2");
	traffic_flows(t);
	traffic_stop(t);
	exercise(mr, (uintptr_t)p, LEN, p, "unmerged");
	bed_close(bed);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
		{ "reclaim", run_reclaim },
		{ "pageout", run_pageout },
		{ "swap", run_swap },
		{ "compaction", run_compaction },
		{ "huge-pages", run_huge_pages },
		{ "ksm", run_ksm },
	};
	size_t i;

	test_init(argc, argv);
	killer_expected();
	sample_load();
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	sample_unload();
	return test_done();
}
