/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the test programs share. A program is a list of run_case(); each case
 * runs in a process of its own with the RDMA device open as `dev`, and ends
 * with fail(), skip() or by returning. So a case leaves nothing behind for the
 * next one, and a crash or a hang is a failure of that case only.
 *
 * Environment: RXE or RDMA_DEV (name of the RDMA device), GPU0 and GPU1 (sysfs
 * folders of PCI devices with memory in BAR 2), GPU_SEED (the host filled that
 * memory: byte o is pattern_fill()'s for this seed), OUT (where expect() writes
 * what the host shall find in the memory), TEST_DEBUG=1 (a slow kernel).
 */
#ifndef TESTS_VERBS_COMMON_H
#define TESTS_VERBS_COMMON_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/*
 * Who may write where in the GPUs' memory: one program, one window. What a
 * program told expect() about stays as it is for the rest of the boot. perftest
 * takes its buffers from offset 0 on: give it a boot of its own.
 */
enum {
	/* GPU 0, 256 MiB. Its first and last MiB: ranges, "whole BAR". */
	OPCODES_AT	= MIB(1),
	SGES_AT		= MIB(4),	/* of GPU 1 as well */
	RANGES_AT	= MIB(8),
	REFUSE_AT	= MIB(24),
	INVALIDATE_AT	= MIB(32),
	ODP_AT		= MIB(48),
	REREG_AT	= MIB(52),
	STRESS_AT	= MIB(56),
	WHOLE_BAR_AT	= MIB(63),	/* ranges, "whole BAR" again */
	BYTES_WRITE_AT	= MIB(64),
	BYTES_INTO_AT	= MIB(136),
	BYTES_READ_AT	= MIB(144),	/* never written */
	BW_AT		= MIB(216),
	BW_SIZE		= MIB(24),
	DMAE_AT		= MIB(244),	/* tests/dmae, to 252 */
	/* GPU 1, 64 MiB */
	OPCODES_AT1	= 0,
	RANGES_AT1	= MIB(8),
	INVALIDATE_AT1	= MIB(16),
	VFIO_AT1	= MIB(20),
	DMAE_AT1	= MIB(32),
	SHARING_AT1	= MIB(40),
	REMOVAL_AT1	= MIB(48),
};

/* ---- report.c: cases ---- */

extern bool slow;	/* TEST_DEBUG */

void test_init(int argc, char **argv);
void run_case(void (*run)(const void *arg), const void *arg,
	      const char *name, ...) __attribute__((format(printf, 3, 4)));
int test_done(void);

/* End the case, from any of its threads and child processes. */
void fail(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
void skip(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
/* A line for the reader, no verdict. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Wait for a child process; the case fails unless it exited with 0. */
void join_child(pid_t pid, const char *what);
/* The same, unless that signal has killed it. */
void join_killed(pid_t pid, int sig, const char *what);
/* What ends at once ends within so many seconds, also beside other VMs. */
double at_once(void);
/* Kill it and wait for its end; the case fails unless that is at once. */
void want_killed_at_once(pid_t pid, const char *what);
void make_pipe(int fd[2]);
/* Two processes take turns, over a pipe each way. False: the other one is gone. */
void pass(int fd);
bool await(int fd);
const char *case_name(void);

/* What the kernel says from now on. */
int kmsg_open(void);
/* Wait for a line with both words in it; false if none came. */
bool kmsg_has(int fd, double seconds, const char *word, const char *other);
/* Of values in any order, which are sorted. */
double median(double *values, size_t n);

/* ---- memory.c: patterns ---- */

uint64_t splitmix64(uint64_t x);
uint64_t seed_of(const char *name);
/* Byte o of a pattern is byte o % 8 of the word splitmix64(o / 8 + seed). */
void pattern_fill(void *to, size_t len, uint64_t seed, uint64_t offset);
void pattern_check(const void *got, size_t len, uint64_t seed, uint64_t offset,
		   const char *what);
void same_check(const void *got, const void *want, size_t len, const char *what);

/* ---- memory.c: memory ---- */

enum where { HOST = -1, GPU0, GPU1 };

#define ACCESS_ALL (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
		    IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC | \
		    IBV_ACCESS_MW_BIND)

struct mem {
	uint8_t *addr;
	size_t len;
	struct ibv_mr *mr;
};

const char *gpu_path(int gpu);
uint64_t gpu_address(int gpu);
size_t gpu_size(int gpu);
uint64_t gpu_seed(void);
int gpu_open(int gpu, const char *file, int flags);
/* Map device memory; with @at, over whatever is there. */
void *gpu_map_at(int gpu, void *at, uint64_t offset, size_t len, int prot);
void *gpu_map(int gpu, uint64_t offset, size_t len);
/* The same, through /proc/bus/pci. */
void *gpu_map_procfs(int gpu, uint64_t offset, size_t len);
void *host_map_at(void *at, size_t len, int prot);
void *host_map(size_t len);
void unmap(void *addr, size_t len);
void protect(void *addr, size_t len, int prot);
/* MADV_FREE: reclaim drops what stays clean. The caller stays on its CPU. */
void let_drop(void *addr, size_t len);

struct ibv_mr *try_reg(void *addr, size_t len, int access, int *err);
struct ibv_mr *reg(void *addr, size_t len, int access);
void dereg(struct ibv_mr *mr);
struct mem mem_open(int where, uint64_t offset, size_t len);
void mem_close(struct mem *mem);
struct ibv_sge sge(const struct mem *mem, size_t offset, size_t len);

/* The host shall find @data at @offset of the GPU's memory at the end. */
void expect(int gpu, const char *name, uint64_t offset, const void *data,
	    size_t len);

/* GPU 0's memory twice: what is registered, and a mapping that stays. */
struct area {
	uint64_t at;		/* in the BAR */
	uint8_t *addr, *view;
	struct ibv_mr *mr;	/* the caller's */
};

struct area area_map(uint64_t at, size_t len);
/*
 * Take a copy of that part now, and look whether it is still the same later, as
 * the host shall at the end.
 */
void stays(const struct area *a, size_t offset, size_t len);

/* ---- qp.c: the device, and queue pairs that are connected in pairs ---- */

struct rdma_dev {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_port_attr port;
	union ibv_gid gid;
	int gid_index;
	uint64_t caps;		/* IBV_DEVICE_*, CAP_* */
};

/* Capabilities that libibverbs has no names for. */
#define CAP_FLUSH_GLOBAL	((uint64_t)1 << 38)
#define CAP_FLUSH_PERSISTENT	((uint64_t)1 << 39)
#define CAP_ATOMIC_WRITE	((uint64_t)1 << 40)

extern struct rdma_dev dev;

const char *dev_name(void);
void dev_open(const char *name);
/* Wait for the event that says that the device is gone. */
void want_fatal_event(void);

enum { PAIR_SRQ = 1, PAIR_EX = 2, PAIR_PATIENT = 4 /* for 34 s */ };
enum { PAIR_DEPTH = 64, PAIR_SGES = 8, PAIR_INLINE = 256, UD_QKEY = 0x1234 };
enum { GRH_LEN = 40 };	/* what a UD receive buffer starts with */

struct pair {
	enum ibv_qp_type type;
	struct ibv_qp *qp[2];	/* requester, responder */
	struct ibv_cq *cq[2];
	struct ibv_srq *srq;	/* the responder's, or NULL */
	struct ibv_ah *ah;	/* UD */
};

struct peer {			/* what a QP has to know of the other one */
	uint32_t qpn;
	union ibv_gid gid;
};

void pair_open(struct pair *p, enum ibv_qp_type type, int flags);
void pair_close(struct pair *p);
struct ibv_qp *qp_create(struct ibv_cq *cq, enum ibv_qp_type type,
			 struct ibv_srq *srq, int flags);
void qp_connect(struct ibv_qp *qp, const struct peer *peer);
/* The same; a peer that is gone is noticed after retries + 1 timeouts. */
void qp_connect_for(struct ibv_qp *qp, const struct peer *peer,
		    unsigned int timeout, unsigned int retries);
struct ibv_cq *cq_create(void);
enum ibv_qp_state qp_state(struct ibv_qp *qp);
void to_state(struct ibv_qp *qp, enum ibv_qp_state state);

void post(struct ibv_qp *qp, struct ibv_send_wr *wr);
void post_recv(struct pair *p, struct ibv_sge *sges, int n);
/* The next completion; @bytes are still under way, which takes time. */
struct ibv_wc wait_wc(struct ibv_cq *cq, size_t bytes, const char *what);
void want_wc(struct ibv_cq *cq, size_t bytes, enum ibv_wc_status want,
	     const char *what);
double now(void);
/*
 * Seconds after which what we wait for has hung, also beside other VMs, where
 * all is late.
 */
double patience(size_t bytes);

/* One RDMA read or write, with a completion. */
void rdma_post(struct ibv_qp *qp, enum ibv_wr_opcode op, struct ibv_sge local,
	       uint64_t remote, uint32_t rkey);
/* The same, up to its completion. */
enum ibv_wc_status rdma(struct pair *p, enum ibv_wr_opcode op,
			struct ibv_sge local, uint64_t remote, uint32_t rkey);
/* The same, it has to end with this status. */
void want_rdma(struct pair *p, enum ibv_wr_opcode op, struct ibv_sge local,
	       uint64_t remote, uint32_t rkey, enum ibv_wc_status want,
	       const char *what);

/*
 * Write a pattern to @len bytes at @iova of an MR, look for it at @view, where
 * the process sees that memory, and read it back.
 */
void exercise(struct ibv_mr *mr, uint64_t iova, size_t len, const void *view,
	      const char *what);

/* ---- uverbs.c: what Debian 12's librxe has no function for ---- */

int uverbs_advise_mr(struct ibv_pd *pd, uint32_t advice, uint32_t flags,
		     struct ibv_sge *sges, uint32_t n);
int uverbs_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr,
		    size_t len, int access);
enum { RXE_WR_FLUSH = 14, RXE_WC_FLUSH = 8 };
enum { FLUSH_GLOBAL = 1, FLUSH_PERSISTENT = 2 };	/* types */
enum { FLUSH_RANGE, FLUSH_MR };				/* levels */
enum { ACCESS_FLUSH_GLOBAL = 1 << 8, ACCESS_FLUSH_PERSISTENT = 1 << 9 };
void post_flush(struct pair *p, uint64_t remote, uint32_t len, uint32_t rkey,
		uint8_t type, uint8_t level);

#endif
