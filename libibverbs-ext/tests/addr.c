// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * What the library says of memory that any machine has, from the kernel's lookup
 * and from the text of the file, which have to agree.
 */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs_p2p.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "../maps.c"

enum { PAGE = 4096, PAGES = 16, LEN = PAGES * PAGE };

static struct ibv_p2p_addr_attr query(const void *addr)
{
	struct ibv_p2p_addr_attr attr;

	memset(&attr, 0xff, sizeof(attr));
	assert_int_equal(ibv_p2p_query_addr(addr, &attr, sizeof(attr)), 0);
	return attr;
}

static uint8_t *map(int prot, int flags, int fd, off_t offset)
{
	uint8_t *p = mmap(NULL, LEN, prot, flags, fd, offset);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Between two holes, so that it does not become one with what is next to it. */
static uint8_t *map_apart(int prot)
{
	uint8_t *p = map(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(p, PAGE);
	munmap(p + LEN - PAGE, PAGE);
	assert_int_equal(mprotect(p + PAGE, LEN - 2 * PAGE, prot), 0);
	return p;
}

static void test_anonymous(void **state)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
	};
	struct ibv_p2p_addr_attr attr;
	uint8_t *p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(prots) / sizeof(*prots); i++) {
		p = map_apart(prots[i]);
		attr = query(p + PAGE + 5);
		assert_int_equal(attr.kind, IBV_P2P_KIND_HOST);
		assert_int_equal(attr.comp_mask, 0);
		assert_int_equal(attr.map_addr, (uintptr_t)p + PAGE);
		assert_int_equal(attr.map_length, LEN - 2 * PAGE);
		assert_int_equal(attr.map_prot, prots[i]);
		munmap(p + PAGE, LEN - 2 * PAGE);
	}
}

static void test_edges(void **state)
{
	uint8_t *p = map_apart(PROT_READ);
	struct ibv_p2p_addr_attr attr, before;

	(void)state;
	query(p + PAGE);
	query(p + LEN - PAGE - 1);
	memset(&attr, 0xa5, sizeof(attr));
	before = attr;
	assert_int_equal(ibv_p2p_query_addr(p + PAGE - 1, &attr, sizeof(attr)), EFAULT);
	assert_int_equal(ibv_p2p_query_addr(p + LEN - PAGE, &attr, sizeof(attr)), EFAULT);
	assert_int_equal(ibv_p2p_query_addr(NULL, &attr, sizeof(attr)), EFAULT);
	assert_int_equal(ibv_p2p_query_addr((void *)-1, &attr, sizeof(attr)), EFAULT);
	assert_memory_equal(&attr, &before, sizeof(attr));
	munmap(p + PAGE, LEN - 2 * PAGE);
}

static void test_file(void **state)
{
	char name[] = "/tmp/ext addr (deleted)\nXXXXXX";
	int fd = mkstemp(name);
	struct ibv_p2p_addr_attr attr;
	uint8_t *p;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4 * LEN), 0);
	p = map(PROT_READ, MAP_SHARED, fd, 2 * LEN);
	attr = query(p + PAGE + 7);
	assert_int_equal(attr.kind, IBV_P2P_KIND_HOST);
	assert_int_equal(attr.comp_mask, IBV_P2P_ADDR_OFFSET);
	assert_int_equal(attr.offset, 2 * LEN + PAGE + 7);
	unlink(name);
	attr = query(p);
	assert_int_equal(attr.kind, IBV_P2P_KIND_HOST);
	assert_int_equal(attr.offset, 2 * LEN);
	munmap(p, LEN);
	close(fd);
}

static void test_zero(void **state)
{
	int fd = open("/dev/zero", O_RDWR);
	uint8_t *p = map(PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)state;
	assert_int_equal(query(p).kind, IBV_P2P_KIND_HOST);
	munmap(p, LEN);
	close(fd);
}

/* A program that was built with another version of the header. */
static void test_sizes(void **state)
{
	struct {
		struct ibv_p2p_addr_attr attr;
		uint64_t later;
	} larger;
	int x = 0;

	(void)state;
	memset(&larger, 0xff, sizeof(larger));
	assert_int_equal(ibv_p2p_query_addr(&x, &larger.attr, sizeof(larger)), 0);
	assert_int_equal(larger.attr.kind, IBV_P2P_KIND_HOST);
	assert_int_equal(larger.later, 0);
	assert_int_equal(ibv_p2p_query_addr(&x, &larger.attr, 8), EINVAL);
	assert_int_equal(ibv_p2p_query_addr(&x, NULL, sizeof(larger.attr)), EINVAL);
}

/* Both ways to look, in an address space of many mappings. */
static void test_both_agree(void **state)
{
	enum { MAPS = 10000 };
	uint8_t *p = mmap(NULL, 2 * MAPS * PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int fd = open("/proc/self/maps", O_RDONLY), i, asked;
	struct map a, b;
	uint8_t *at;

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	for (i = 0; i < MAPS; i++)
		assert_int_equal(mprotect(p + 2 * i * PAGE, PAGE, PROT_READ), 0);
	for (i = 0; i < MAPS; i += 997) {
		at = p + 2 * i * PAGE + 11;
		asked = ask(fd, (uintptr_t)at, &a);
		if (asked == ENOTTY)
			skip();
		assert_int_equal(asked, 0);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(search(fd, (uintptr_t)at, &b), 0);
		assert_int_equal(a.start, b.start);
		assert_int_equal(a.start, (uintptr_t)p + 2 * i * PAGE);
		assert_int_equal(a.end, b.end);
		assert_int_equal(a.offset, b.offset);
		assert_int_equal(a.readable, b.readable);
		assert_int_equal(a.writable, b.writable);
		assert_int_equal(a.inode, b.inode);
		assert_string_equal(a.name, b.name);
	}
	close(fd);
	munmap(p, 2 * MAPS * PAGE);
}

static void test_text(void **state)
{
	static const char line[] =
		"7f0012345000-7f0012347000 rw-s fee00000 00:1b 4242       /sys/a b\n";
	struct map m;

	(void)state;
	assert_true(parse(line, &m));
	assert_int_equal(m.start, 0x7f0012345000);
	assert_int_equal(m.end, 0x7f0012347000);
	assert_int_equal(m.offset, 0xfee00000);
	assert_true(m.readable && m.writable);
	assert_int_equal(m.inode, 4242);
	assert_string_equal(m.name, "/sys/a b");
	assert_true(parse("1000-2000 ---p 00000000 00:00 0 \n", &m));
	assert_false(m.readable || m.writable);
	assert_string_equal(m.name, "");
	assert_false(parse("1000-2000 rw-p\n", &m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_zero),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_both_agree),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
