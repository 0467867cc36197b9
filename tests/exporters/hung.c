// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A device that hangs, and does not bring its memory into reach: who waits for it
 * can be killed, can go on to map and unmap, and keeps nobody else.
 */
#include "buffer.h"

#include <pthread.h>
#include <unistd.h>

enum { LEN = KIB(256), EVER_MS = 600000 };
/* 67 ms, four times, and each up to four times as long. */
enum { TIMEOUT = 14, RETRIES = 3 };
static const double timeout_s = 4 * 4 * 0.0671;

static void want_at_once(double began, const char *what)
{
	if (now() - began > at_once())
		fail("%s took %.1f s", what, now() - began);
}

static void *map_and_unmap(void *arg)
{
	int fd = *(const int *)arg;

	usleep(200000);
	unmap(host_map(4096), 4096);
	pass(fd);
	return NULL;
}

/* ibv_reg_mr() itself waits. */
static void run_register(const void *arg)
{
	double began;
	int fd[2];
	pid_t pid;

	(void)arg;
	make_pipe(fd);
	pid = fork();
	if (!pid) {
		struct buffer b = buffer_open(LEN);
		pthread_t thread;

		dev_open(dev_name());
		pthread_create(&thread, NULL, map_and_unmap, &fd[1]);
		sample_lever("map_delay_ms", EVER_MS);
		reg(b.addr, LEN, ACCESS_ALL);
		fail("it was registered");
	}
	close(fd[1]);
	began = now();
	if (!await(fd[0]))
		fail("who registers does not get to map anything");
	want_at_once(began, "munmap() while another thread registers");
	want_killed_at_once(pid, "who registers");
	sample_lever("map_delay_ms", 0);
	sample_balanced();
}

/* A write to memory that is not mapped any more. */
static void run_access(const void *arg)
{
	struct buffer b = buffer_open(LEN);
	struct mem mem = mem_open(HOST, 0, LEN);
	struct ibv_mr *mr = reg(b.addr, LEN, ACCESS_ALL);
	struct ibv_cq *cq = cq_create();
	struct ibv_qp *qp[2];
	struct peer peer[2];
	enum ibv_wc_status status;
	double began;
	int i;

	(void)arg;
	for (i = 0; i < 2; i++) {
		qp[i] = qp_create(cq, IBV_QPT_RC, NULL, 0);
		peer[i] = (struct peer){ qp[i]->qp_num, dev.gid };
	}
	for (i = 0; i < 2; i++)
		qp_connect_for(qp[i], &peer[!i], TIMEOUT, RETRIES);
	sample_lever("map_delay_ms", EVER_MS);
	buffer_invalidate(&b);

	began = now();
	rdma_post(qp[0], IBV_WR_RDMA_WRITE, sge(&mem, 0, LEN),
		  (uintptr_t)b.addr, mr->rkey);
	status = wait_wc(cq, LEN, "of a device that hangs").status;
	if (status != IBV_WC_RETRY_EXC_ERR)
		fail("%s, want a timeout", ibv_wc_status_str(status));
	if (now() - began > timeout_s + at_once())
		fail("the timeout took %.1f s", now() - began);

	began = now();
	dereg(mr);
	want_at_once(began, "ibv_dereg_mr()");
	for (i = 0; i < 2; i++)
		if (ibv_destroy_qp(qp[i]))
			fail("ibv_destroy_qp: %s", strerror(errno));
	want_at_once(began, "ibv_destroy_qp()");
	unmap(b.addr, LEN);
	want_at_once(began, "munmap()");
	sample_lever("map_delay_ms", 0);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	sample_load();
	run_case(run_register, NULL, "register");
	run_case(run_access, NULL, "access");
	sample_unload();
	return test_done();
}
