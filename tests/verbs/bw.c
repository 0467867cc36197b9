// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * bw: what device memory costs, over a loopback connection, in one boot.
 *
 * Both sides use host memory, or both device memory, or both device memory by
 * way of a bounce buffer in host memory, as one had to before: the CPU copies
 * out of the device, the RDMA device transfers, the CPU copies into the device.
 */
#include "common.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum mode { HOST_MODE, DEVICE_MODE, BOUNCE_MODE, MODES };

static const char *const mode_names[] = { "host", "device", "bounce" };

enum { MAX_DEPTH = 16, ROUNDS = 7 };

static struct options {
	const char *op;
	enum mode mode;
	size_t size;
	unsigned int iters;
	bool compare, json;
	enum mode reg;
	bool do_reg, footprint;
} opt = { .op = "write", .size = 65536, .iters = 1000 };

/* A connection and its buffers. Slots, so that several can be under way. */
struct bench {
	enum mode mode;
	unsigned int depth;
	struct pair pair;
	struct mem local, remote;
	uint8_t *local_device, *remote_device;	/* of a bounce buffer */
};

static void usage(void)
{
	fprintf(stderr,
		"usage: bw --op write|read|send --mem host|device|bounce [--size N] [--iters N] [--json]\n"
		"       bw --compare --op write|read|send [--size N] [--iters N] [--json]\n"
		"       bw --reg host|device [--size N] [--iters N] [--json]\n"
		"       bw --footprint host|device [--size N] [--iters N] [--json]\n"
		"--compare: medians of %d alternating rounds. --reg: time of ibv_reg_mr and\n"
		"ibv_dereg_mr. --footprint: kernel memory of an MR, from N of them.\n",
		ROUNDS);
	exit(2);
}

static uint64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void bench_open(struct bench *b, enum mode mode)
{
	size_t half = BW_SIZE / 2;
	int where = mode == DEVICE_MODE ? GPU0 : HOST;

	b->mode = mode;
	b->depth = half / opt.size;
	if (b->depth > MAX_DEPTH)
		b->depth = MAX_DEPTH;
	if (!b->depth)
		fail("--size is at most %zu", half);
	b->local = mem_open(where, BW_AT, b->depth * opt.size);
	b->remote = mem_open(where, BW_AT + half, b->depth * opt.size);
	if (mode == BOUNCE_MODE) {
		b->local_device = gpu_map(GPU0, BW_AT, b->depth * opt.size);
		b->remote_device = gpu_map(GPU0, BW_AT + half,
					   b->depth * opt.size);
	}
	pair_open(&b->pair, IBV_QPT_RC, 0);
}

static void bench_close(struct bench *b)
{
	pair_close(&b->pair);
	if (b->mode == BOUNCE_MODE) {
		unmap(b->local_device, b->local.len);
		unmap(b->remote_device, b->remote.len);
	}
	mem_close(&b->local);
	mem_close(&b->remote);
}

static bool is_read(void)
{
	return !strcmp(opt.op, "read");
}

static bool is_send(void)
{
	return !strcmp(opt.op, "send");
}

/* What the source's side does before a transfer. */
static void copy_out(struct bench *b, size_t at)
{
	if (b->mode != BOUNCE_MODE)
		return;
	if (is_read())
		memcpy(b->remote.addr + at, b->remote_device + at, opt.size);
	else
		memcpy(b->local.addr + at, b->local_device + at, opt.size);
}

/* What the target's side does after one. */
static void copy_in(struct bench *b, size_t at)
{
	if (b->mode != BOUNCE_MODE)
		return;
	if (is_read())
		memcpy(b->local_device + at, b->local.addr + at, opt.size);
	else
		memcpy(b->remote_device + at, b->remote.addr + at, opt.size);
}

static void start_one(struct bench *b, unsigned int i)
{
	size_t at = i % b->depth * opt.size;
	struct ibv_sge local = sge(&b->local, at, opt.size);
	struct ibv_sge remote = sge(&b->remote, at, opt.size);
	struct ibv_send_wr wr = {
		.opcode = is_read() ? IBV_WR_RDMA_READ :
			  is_send() ? IBV_WR_SEND : IBV_WR_RDMA_WRITE,
		.sg_list = &local,
		.num_sge = 1,
		.wr.rdma = { remote.addr, b->remote.mr->rkey },
	};

	copy_out(b, at);
	if (is_send())
		post_recv(&b->pair, &remote, 1);
	post(b->pair.qp[0], &wr);
}

static void finish_one(struct bench *b, unsigned int i)
{
	want_wc(b->pair.cq[0], opt.size, IBV_WC_SUCCESS, opt.op);
	if (is_send())
		want_wc(b->pair.cq[1], opt.size, IBV_WC_SUCCESS, "receive");
	copy_in(b, i % b->depth * opt.size);
}

/* MB/s of a round. */
static double bench_run(struct bench *b)
{
	uint64_t start = nanoseconds();
	unsigned int started = 0, done = 0;

	while (done < opt.iters) {
		while (started < opt.iters && started < done + b->depth)
			start_one(b, started++);
		finish_one(b, done++);
	}
	return opt.size * 1e3 * opt.iters / (nanoseconds() - start);
}

/* The last byte of each slot is the source's. */
static void bench_check(struct bench *b)
{
	uint8_t *local = b->mode == BOUNCE_MODE ? b->local_device : b->local.addr;
	uint8_t *remote = b->mode == BOUNCE_MODE ? b->remote_device :
						   b->remote.addr;
	uint8_t *from = is_read() ? remote : local, *to = is_read() ? local : remote;
	size_t len = b->depth * opt.size;

	memset(to, 0, len);
	pattern_fill(from, len, seed_of(mode_names[b->mode]), 0);
	bench_run(b);
	if (opt.iters >= b->depth)
		same_check(to, from, len, mode_names[b->mode]);
}

static void run_one(void)
{
	struct bench b = {};
	double rate;

	bench_open(&b, opt.mode);
	bench_check(&b);
	rate = bench_run(&b);
	bench_close(&b);
	if (opt.json)
		printf("{\"op\": \"%s\", \"size\": %zu, \"mem\": \"%s\", \"mb_per_s\": %.2f}\n",
		       opt.op, opt.size, mode_names[opt.mode], rate);
	else
		printf("%s of %zu bytes, %s memory: %.2f MB/s\n", opt.op,
		       opt.size, mode_names[opt.mode], rate);
}

/* Rounds alternate, so that what disturbs the machine disturbs all alike. */
static void run_compare(void)
{
	struct bench benches[MODES] = {};
	double rates[MODES][ROUNDS], mid[MODES];
	int mode, round;

	for (mode = 0; mode < MODES; mode++) {
		bench_open(&benches[mode], mode);
		bench_check(&benches[mode]);
	}
	for (round = 0; round < ROUNDS; round++)
		for (mode = 0; mode < MODES; mode++)
			rates[mode][round] = bench_run(&benches[mode]);
	for (mode = 0; mode < MODES; mode++) {
		mid[mode] = median(rates[mode], ROUNDS);
		bench_close(&benches[mode]);
	}
	if (opt.json)
		printf("{\"op\": \"%s\", \"size\": %zu, \"host\": %.2f, \"device\": %.2f, \"bounce\": %.2f, "
		       "\"device_over_host\": %.4f, \"device_over_bounce\": %.4f}\n",
		       opt.op, opt.size, mid[HOST_MODE], mid[DEVICE_MODE],
		       mid[BOUNCE_MODE], mid[DEVICE_MODE] / mid[HOST_MODE],
		       mid[DEVICE_MODE] / mid[BOUNCE_MODE]);
	else
		printf("%s of %zu bytes: host %.2f, device %.2f, bounce %.2f MB/s; device/host %.3f, device/bounce %.3f\n",
		       opt.op, opt.size, mid[HOST_MODE], mid[DEVICE_MODE],
		       mid[BOUNCE_MODE], mid[DEVICE_MODE] / mid[HOST_MODE],
		       mid[DEVICE_MODE] / mid[BOUNCE_MODE]);
}

static uint8_t *reg_memory(void)
{
	uint8_t *p;

	if (opt.reg == DEVICE_MODE)
		return gpu_map(GPU0, 0, opt.size);
	p = host_map(opt.size);
	memset(p, 1, opt.size);
	return p;
}

static void run_reg(void)
{
	uint8_t *p = reg_memory();
	double *times = calloc(opt.iters, sizeof(*times));
	unsigned int i;
	uint64_t start;
	double mid;

	dereg(reg(p, opt.size, ACCESS_ALL));
	for (i = 0; i < opt.iters; i++) {
		start = nanoseconds();
		dereg(reg(p, opt.size, ACCESS_ALL));
		times[i] = nanoseconds() - start;
	}
	mid = median(times, opt.iters);
	if (opt.json)
		printf("{\"reg\": \"%s\", \"size\": %zu, \"ns\": %.0f}\n",
		       mode_names[opt.reg], opt.size, mid);
	else
		printf("ibv_reg_mr and ibv_dereg_mr of %zu bytes, %s memory: %.0f ns\n",
		       opt.size, mode_names[opt.reg], mid);
}

static long free_kib(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f) &&
	       sscanf(line, "MemFree: %ld kB", &kib) != 1)
		;
	if (f)
		fclose(f);
	if (kib < 0)
		fail("no MemFree in /proc/meminfo");
	return kib;
}

static void run_footprint(void)
{
	uint8_t *p = reg_memory();
	struct ibv_mr **mrs = calloc(opt.iters, sizeof(*mrs));
	unsigned int i;
	long before;
	double bytes;

	/*
	 * Slabs and page tables grow with the MRs and do not shrink after them,
	 * so this counts from a kernel that has had none.
	 */
	before = free_kib();
	for (i = 0; i < opt.iters; i++)
		mrs[i] = reg(p, opt.size, ACCESS_ALL);
	bytes = (before - free_kib()) * 1024.0 / opt.iters;
	for (i = 0; i < opt.iters; i++)
		dereg(mrs[i]);
	if (opt.json)
		printf("{\"footprint\": \"%s\", \"size\": %zu, \"bytes\": %.0f}\n",
		       mode_names[opt.reg], opt.size, bytes);
	else
		printf("kernel memory of an MR over %zu bytes, %s memory: %.0f bytes\n",
		       opt.size, mode_names[opt.reg], bytes);
}

static enum mode parse_mode(const char *name)
{
	int mode;

	for (mode = 0; mode < MODES; mode++)
		if (!strcmp(name, mode_names[mode]))
			return mode;
	usage();
	return MODES;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "op", required_argument, NULL, 'o' },
		{ "mem", required_argument, NULL, 'm' },
		{ "size", required_argument, NULL, 's' },
		{ "iters", required_argument, NULL, 'n' },
		{ "reg", required_argument, NULL, 'r' },
		{ "footprint", required_argument, NULL, 'f' },
		{ "compare", no_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			opt.op = optarg;
			break;
		case 'm':
			opt.mode = parse_mode(optarg);
			break;
		case 's':
			opt.size = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			opt.iters = strtoul(optarg, NULL, 0);
			break;
		case 'f':
		case 'r':
			opt.reg = parse_mode(optarg);
			opt.do_reg = c == 'r';
			opt.footprint = c == 'f';
			break;
		case 'c':
			opt.compare = true;
			break;
		case 'j':
			opt.json = true;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || !opt.size || !opt.iters ||
	    (!is_read() && !is_send() && strcmp(opt.op, "write")))
		usage();
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	test_init(0, NULL);
	dev_open(dev_name());
	if (opt.footprint)
		run_footprint();
	else if (opt.do_reg)
		run_reg();
	else if (opt.compare)
		run_compare();
	else
		run_one();
	return 0;
}
