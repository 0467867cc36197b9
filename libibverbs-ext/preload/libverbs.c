// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* Where libibverbs is, for us, and for programs that load it themselves. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "libverbs.h"

static struct libverbs real;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* It is a dependency of ours, so it is among the objects behind us. */
static void *find(const char *name, const char *version)
{
	return dlvsym(RTLD_NEXT, name, version);
}

static void find_all(void)
{
	real.fork_init = find("ibv_fork_init", "IBVERBS_1.1");
	real.reg_mr_iova2 = find("ibv_reg_mr_iova2", "IBVERBS_1.8");
	real.reg_mr_ex = find("ibv_reg_mr_ex", "IBVERBS_1.15");
	real.rereg_mr = find("ibv_rereg_mr", "IBVERBS_1.1");
}

const struct libverbs *libverbs(void)
{
	pthread_once(&once, find_all);
	return &real;
}

/*
 * Programs that load libibverbs themselves, NCCL for one, look their functions up in what
 * they have loaded. They get us, which is ours first and then, as a dependency, its.
 */
static __attribute__((noinline)) bool is_libverbs(const char *file)
{
	struct stat is, given;
	Dl_info info;

	if (!file)
		return false;
	if (!strchr(file, '/'))
		return !strcmp(file, "libibverbs.so") || !strcmp(file, "libibverbs.so.1");
	/* Another one than ours is that program's business. */
	return strstr(file, "libibverbs.so") && !stat(file, &given) &&
	       dladdr(find("ibv_dereg_mr", "IBVERBS_1.1"), &info) &&
	       !stat(info.dli_fname, &is) &&
	       is.st_dev == given.st_dev && is.st_ino == given.st_ino;
}

static __attribute__((noinline)) const char *own_file(void)
{
	Dl_info info;

	return dladdr(own_file, &info) ? info.dli_fname : NULL;
}

/*
 * The dynamic linker looks whose RUNPATH to use by where dlopen() will return to. So this
 * one leaves by a jump, which compilers make of a call that is the last thing done.
 */
#ifdef __clang__
#define BY_JUMP
#define return_by_jump __attribute__((musttail)) return
#else
#define BY_JUMP optimize("O2")
#define return_by_jump return
#endif

__attribute__((visibility("default"), BY_JUMP)) void *dlopen(const char *file, int mode)
{
	void *(*next)(const char *file, int mode) = dlsym(RTLD_NEXT, "dlopen");
	const char *ours = is_libverbs(file) ? own_file() : NULL;

	return_by_jump next(ours ? ours : file, mode);
}
