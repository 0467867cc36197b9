// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* MRs with device memory: whose it is, and what happens to it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mrs.h"
#include "nldev.h"
#include "p2pinfo.h"
#include "way.h"

/* It may be gone, and what it calls itself may have anything in it. */
static void name_process(struct mr *mr)
{
	char path[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/comm", mr->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, mr->command, sizeof(mr->command) - 1);
	if (fd >= 0)
		close(fd);
	mr->command[n > 0 ? n : 0] = '\0';
	mr->command[strcspn(mr->command, "\n")] = '\0';
	make_printable(mr->command);
}

/* Those of one process mostly follow each other, and may be many. */
static void name_processes(struct mrs *mrs)
{
	struct mr *mr = mrs->mr, *last = NULL;
	size_t i;

	for (i = 0; i < mrs->nr; i++, mr++) {
		if (!(mr->has & MR_PID))
			continue;
		if (last && last->pid == mr->pid)
			memcpy(mr->command, last->command, sizeof(mr->command));
		else
			name_process(mr);
		last = mr;
	}
}

static bool is_wanted(const struct options *options, const struct mr *mr)
{
	if (options->pid && (!(mr->has & MR_PID) || mr->pid != options->pid))
		return false;
	return options->all || mr_is_device(mr);
}

static bool read_mrs(const struct options *options, struct mrs *mrs)
{
	size_t i, nr = 0;

	if (!nldev_mrs(mrs, options->device))
		return false;
	for (i = 0; i < mrs->nr; i++)
		if (is_wanted(options, &mrs->mr[i]))
			mrs->mr[nr++] = mrs->mr[i];
	mrs->nr = nr;
	name_processes(mrs);
	return true;
}

static void show(const struct options *options, const struct mrs *mrs)
{
	const struct mr_view view = {
		.rates = options->watch > 0, .tells = kernel_way().series,
	};
	struct json_object *object;

	if (!options->json) {
		mrs_print(mrs, &view);
		return;
	}
	object = json_new();
	json_add_bool(object, "tells", view.tells);
	json_object_object_add(object, "mrs", mrs_json(mrs));
	json_print(object);
}

static bool process_exists(const struct options *options)
{
	return !kill(options->pid, 0) || errno != ESRCH;
}

static enum exit_status show_once(const struct options *options)
{
	enum exit_status status;
	struct mrs mrs;

	if (!read_mrs(options, &mrs))
		return NO_ANSWER;
	show(options, &mrs);
	status = mrs.nr ? ANSWER_YES : ANSWER_NO;
	mrs_free(&mrs);
	return status;
}

/* ---- again and again ---- */

static void print_time(const struct options *options, bool first)
{
	const time_t now = time(NULL);
	char text[32];
	struct tm tm;

	if (options->json)
		return;
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	else if (!first)
		putchar('\n');
	strftime(text, sizeof(text), "%F %T", localtime_r(&now, &tm));
	printf("%s%s%s\n", colour_on(BOLD), text, colour_off(BOLD));
}

/* False: it is to end. */
static bool wait_interval(const sigset_t *ends, double seconds)
{
	const struct timespec interval = {
		.tv_sec = seconds,
		.tv_nsec = (seconds - (time_t)seconds) * 1e9,
	};

	return sigtimedwait(ends, NULL, &interval) < 0;
}

/* Takes now. */
static void show_next(const struct options *options, struct mrs *now,
		      struct mrs *before)
{
	const bool first = !before->taken.tv_sec;

	mrs_rate(now, before);
	print_time(options, first);
	show(options, now);
	mrs_free(before);
	*before = *now;
}

static enum exit_status watch(const struct options *options)
{
	enum exit_status status = ANSWER_YES;
	struct mrs before = {}, now;
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	do {
		if (options->pid && !process_exists(options)) {
			complain("process %u has ended", options->pid);
			break;
		}
		if (!read_mrs(options, &now)) {
			status = NO_ANSWER;
			break;
		}
		show_next(options, &now, &before);
	} while (!fflush(stdout) && wait_interval(&ends, options->watch));
	mrs_free(&before);
	return status;
}

enum exit_status mr_command(const struct options *options, int argc, char **argv)
{
	if (argc) {
		complain("mr takes no argument but options, and %s is none: --pid=%s or "
			 "--device=%s", argv[0], argv[0], argv[0]);
		return WRONG_USAGE;
	}
	if (!kernel_way().series && !options->all) {
		complain("this kernel does not tell which MRs have device memory: that "
			 "takes the p2p series. --all lists all MRs, with what it does "
			 "tell of them");
		return NO_ANSWER;
	}
	if (options->pid && !process_exists(options)) {
		complain("there is no process %u", options->pid);
		return NO_ANSWER;
	}
	return options->watch ? watch(options) : show_once(options);
}
