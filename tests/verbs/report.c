// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Runs cases, each in a process of its own, and reports them. */
#include "common.h"
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

bool slow;

enum { PASSED, FAILED, SKIPPED };

static char name[128];
static char *why;		/* shared with the process of the case */
static const size_t why_size = 4096;
static const char *filter;
static int failures;

/* test-NAME [PART]: only cases with PART in their names. */
void test_init(int argc, char **argv)
{
	const char *debug = getenv("TEST_DEBUG");

	slow = debug && *debug && strcmp(debug, "0");
	filter = argc > 1 ? argv[1] : NULL;
	why = mmap(NULL, why_size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (why == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
}

int test_done(void)
{
	return failures ? 1 : 0;
}

const char *case_name(void)
{
	return name;
}

static __attribute__((noreturn)) void
end_case(int verdict, const char *fmt, va_list ap)
{
	/* Also used by programs without cases. */
	if (!*name) {
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
		_exit(verdict);
	}
	/* The first reason counts: others mostly follow from it. */
	if (!*why)
		vsnprintf(why, why_size, fmt, ap);
	_exit(verdict);
}

void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_case(FAILED, fmt, ap);
}

void skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_case(SKIPPED, fmt, ap);
}

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# %s: ", name);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	fflush(stdout);
}

void join_child(pid_t pid, const char *what)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid for %s: %s", what, strerror(errno));
	if (WIFSIGNALED(status))
		fail("%s was killed by signal %d", what, WTERMSIG(status));
	if (WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
}

void join_killed(pid_t pid, int sig, const char *what)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid for %s: %s", what, strerror(errno));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != sig)
		fail("%s ended with status 0x%x, expected signal %d", what,
		     status, sig);
}

/* To destroy 2000 QPs takes 1.1 s on a machine that does something else too. */
double at_once(void)
{
	return slow ? 8 : 3;
}

void want_killed_at_once(pid_t pid, const char *what)
{
	double began = now();

	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, WNOHANG) != pid) {
		if (now() - began > 10 * at_once())
			fail("%s is still there %.0f s after SIGKILL", what,
			     now() - began);
		usleep(1000);
	}
	if (now() - began > at_once())
		fail("%s died %.1f s after SIGKILL", what, now() - began);
}

/* Wait for the case; a process that does not even die has hung the kernel. */
static bool wait_case(pid_t pid, int *status, int seconds)
{
	double end = now() + seconds;

	while (now() < end) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		usleep(2000);
	}
	return false;
}

static int judge(pid_t pid)
{
	const char *limit = getenv("TEST_TIMEOUT");
	int status = 0, seconds;

	/* Before guest-tests stops all of this program. */
	seconds = (limit && *limit ? atoi(limit) : slow ? 900 : 300) * 4 / 5;
	if (!wait_case(pid, &status, seconds)) {
		kill(-pid, SIGKILL);
		snprintf(why, why_size, "not done after %d s%s", seconds,
			 wait_case(pid, &status, 30) ? "" :
			 ", and its process cannot be killed");
		return FAILED;
	}
	/* Its threads' and childrens' children, if it left any. */
	kill(-pid, SIGKILL);

	if (WIFSIGNALED(status)) {
		snprintf(why, why_size, "killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
		return FAILED;
	}
	return WEXITSTATUS(status);
}

void run_case(void (*run)(const void *arg), const void *arg,
	      const char *fmt, ...)
{
	const char *lack;
	va_list ap;
	pid_t pid;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (filter && !strstr(name, filter))
		return;

	lack = modules_lack(program_invocation_short_name + strlen("test-"), name);
	if (lack) {
		printf("SKIP %s: %s\n", name, lack);
		return;
	}
	*why = '\0';
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		dev_open(dev_name());
		run(arg);
		_exit(PASSED);
	}
	setpgid(pid, pid);

	switch (pid < 0 ? FAILED : judge(pid)) {
	case PASSED:
		printf("PASS %s\n", name);
		break;
	case SKIPPED:
		printf("SKIP %s: %s\n", name, why);
		break;
	default:
		printf("FAIL %s: %s\n", name, *why ? why : "no reason given");
		failures++;
	}
	fflush(stdout);
}

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0)
		fail("/dev/kmsg: %s", strerror(errno));
	return fd;
}

bool kmsg_has(int fd, double seconds, const char *word, const char *other)
{
	double end = now() + seconds;
	char line[8192];
	ssize_t n;

	while (now() < end) {
		n = read(fd, line, sizeof(line) - 1);
		if (n < 0) {
			usleep(10000);
			continue;
		}
		line[n] = '\0';
		if (strcasestr(line, word) && strcasestr(line, other))
			return true;
	}
	return false;
}

void make_pipe(int fd[2])
{
	if (pipe(fd))
		fail("pipe: %s", strerror(errno));
}

void pass(int fd)
{
	if (write(fd, "x", 1) != 1)
		fail("write to the other process: %s", strerror(errno));
}

bool await(int fd)
{
	char c;

	return read(fd, &c, 1) == 1;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[n / 2];
}
