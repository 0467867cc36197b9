// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* ibv_p2pinfo: the tool to reach for when ibv_reg_mr() on device memory fails. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "p2pinfo.h"
#include "sysfs.h"

static const struct command {
	const char *name;
	enum exit_status (*run)(const struct options *options, int argc, char **argv);
} commands[] = {
	{ "matrix", matrix_command },
	{ "addr", addr_command },
	{ "mr", mr_command },
	{ "test", test_command },
};

static const char help[] =
	"usage: ibv_p2pinfo [matrix] [RDMA-DEVICE | MEMORY]...\n"
	"       ibv_p2pinfo addr PID ADDRESS\n"
	"       ibv_p2pinfo mr [--pid=PID] [--device=RDMA-DEVICE] [--all] "
	"[--watch[=SECONDS]]\n"
	"       ibv_p2pinfo test RDMA-DEVICE PCI-ADDRESS[:BAR][+OFFSET] | host\n"
	"\n"
	"Can RDMA devices reach the memory of other devices, and does ibv_reg_mr take "
	"it?\n"
	"\n"
	"  matrix   each RDMA device with each memory: path, what is in the way, and how "
	"to\n"
	"           change it (without a command, too)\n"
	"  addr     whose memory another process has mapped at an address\n"
	"  mr       memory regions with device memory: whose, by which path, and what "
	"happens to it\n"
	"  test     register memory, move bytes there and back, and compare\n"
	"\n"
	"  -j, --json         for programs; the keys are in ibv_p2pinfo(1)\n"
	"  -p, --pid=PID      mr: only of this process\n"
	"  -d, --device=NAME  mr: only of this RDMA device\n"
	"  -a, --all          mr: also those without device memory\n"
	"  -w, --watch[=SECONDS]  mr: again and again, with rates (each second)\n"
	"  -l, --length=SIZE  test: how much of the memory (1M, or all if it is less)\n"
	"  -f, --force        test: also what may be in use, or registers\n"
	"  -h, --help         this\n"
	"  -V, --version\n"
	"\n"
	"Exit status: 0 fine; 1 the answer is no: no path, nothing there, it does not "
	"work;\n"
	"2 usage; 3 could not find out.\n";

/* Not for people: what tests have instead of /sys. */
enum { OPTION_SYSFS = 256 };

static const struct option long_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "pid", required_argument, NULL, 'p' },
	{ "device", required_argument, NULL, 'd' },
	{ "all", no_argument, NULL, 'a' },
	{ "watch", optional_argument, NULL, 'w' },
	{ "length", required_argument, NULL, 'l' },
	{ "force", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "sysfs", required_argument, NULL, OPTION_SYSFS },
	{},
};

static enum exit_status wrong_usage(void)
{
	fputs("ibv_p2pinfo --help says what there is.\n", stderr);
	return WRONG_USAGE;
}

/* What getopt has left. */
static enum exit_status run(const struct options *options, int argc, char **argv)
{
	enum exit_status status;
	size_t i;

	for (i = 0; argc && i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(argv[0], commands[i].name))
			break;
	if (argc && i < sizeof(commands) / sizeof(*commands))
		status = commands[i].run(options, argc - 1, argv + 1);
	else
		status = matrix_command(options, argc, argv);
	if (fflush(stdout) || ferror(stdout)) {
		complain("cannot write the answer: %s", strerror(errno));
		return NO_ANSWER;
	}
	return status;
}

static bool parse_pid(const char *text, uint32_t *pid)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	*pid = number;
	if (end != text && !*end && !errno && number > 0 && number <= INT32_MAX)
		return true;
	complain("--pid %s is no process: a number, such as ps shows", text);
	return false;
}

static bool parse_watch(const char *text, double *seconds)
{
	const double least = 0.1, most = 86400;
	char *end = "";

	*seconds = text ? strtod(text, &end) : 1;
	if (!*end && end != text && *seconds >= least && *seconds <= most)
		return true;
	complain("--watch=%s is no interval: seconds, from 0.1 to 86400", text);
	return false;
}

static bool parse_length(const char *text, uint64_t *length)
{
	if (parse_size(text, length) && *length)
		return true;
	complain("--length %s is no size: a number, and K, M or G", text);
	return false;
}

/* False: it is wrong, which has been said. */
static bool set_option(struct options *options, int option)
{
	switch (option) {
	case 'j':
		options->json = true;
		return true;
	case 'p':
		return parse_pid(optarg, &options->pid);
	case 'd':
		options->device = optarg;
		return true;
	case 'a':
		options->all = true;
		return true;
	case 'w':
		return parse_watch(optarg, &options->watch);
	case 'l':
		return parse_length(optarg, &options->length);
	case 'f':
		options->force = true;
		return true;
	case OPTION_SYSFS:
		sysfs_set_root(optarg);
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	struct options options = {};
	int option;

	while ((option = getopt_long(argc, argv, "jp:d:aw::l:fhV", long_options,
				     NULL)) != -1) {
		switch (option) {
		case 'h':
			fputs(help, stdout);
			return ANSWER_YES;
		case 'V':
			puts("ibv_p2pinfo " P2PINFO_VERSION);
			return ANSWER_YES;
		default:
			if (!set_option(&options, option))
				return wrong_usage();
		}
	}
	return run(&options, argc - optind, argv + optind);
}
