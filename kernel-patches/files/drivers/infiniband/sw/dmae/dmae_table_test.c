// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * KUnit tests of dmae_table.c, which includes this file.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/prandom.h>

#define TEST_GENERATION	2
#define TEST_IOVA	0x7f0000000000ULL
#define TEST_PAGES	0x100000UL
#define PAGES(n)	((u64)(n) << PAGE_SHIFT)
#define DMA_A		0x100000000ULL
#define DMA_B		0x900000000ULL

static void free_table(void *mr)
{
	dmae_table_free(mr);
}

/* An MR of 4 GiB, that begins at byte first_offset of a page. */
static struct dmae_mr *test_mr(struct kunit *test, unsigned int first_offset)
{
	struct dmae_mr *mr = kunit_kzalloc(test, sizeof(*mr), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mr);
	dmae_table_init(mr);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, free_table, mr));
	mr->kind = DMAE_MR_PINNED;
	mr->generation = TEST_GENERATION;
	mr->valid = true;
	mr->iova = TEST_IOVA + first_offset;
	mr->length = PAGES(TEST_PAGES) - first_offset;
	mr->first_offset = first_offset;
	return mr;
}

static struct dmae_span test_span(struct dmae_mr *mr, u64 offset, u32 len,
				  bool write)
{
	return (struct dmae_span) {
		.mr = mr,
		.generation = TEST_GENERATION,
		.addr = mr->iova + offset,
		.len = len,
		.write = write,
		.hold = -1,
	};
}

/* Where byte @offset of the MR is, and how much is contiguous; 0: nowhere. */
static dma_addr_t dma_of(struct dmae_mr *mr, u64 offset, u32 *len, bool write)
{
	struct dmae_span span = test_span(mr, offset, *len, write);
	dma_addr_t dma;

	if (dmae_span_translate(&span, 0, &dma, len))
		return 0;
	dmae_span_release(&span);
	return dma;
}

static dma_addr_t dma_of_page(struct dmae_mr *mr, unsigned long page,
			      bool write)
{
	u32 len = 1;

	return dma_of(mr, PAGES(page), &len, write);
}

static unsigned int count_entries(struct dmae_mr *mr)
{
	struct dmae_entry entry;
	unsigned long page;
	unsigned int nr = 0;

	for (page = 0; dmae_table_next(mr, page, &entry);
	     page = entry_end(&entry))
		nr++;
	return nr;
}

/* ---- filling and translating ---- */

struct contiguous_case {
	const char *name;
	unsigned long first, npages;
	unsigned int entries;
};

static const struct contiguous_case contiguous_cases[] = {
	{ "1 page", 0, 1, 1 },
	{ "1 page, not the first", 5, 1, 1 },
	{ "64 pages", 0, 64, 1 },
	{ "63 pages", 0, 63, 6 },
	{ "256 MiB", 0, 65536, 1 },
	{ "256 MiB and a page", 0, 65537, 2 },
	{ "256 MiB from page 1 on", 1, 65536, 17 },
	{ "256 MiB from page 65535 on", 65535, 65536, 17 },
	{ "256 MiB from page 32768 on", 32768, 65536, 2 },
	{ "1 GiB", 0, 262144, 1 },
};

KUNIT_ARRAY_PARAM_DESC(contiguous, contiguous_cases, name);

static void test_contiguous(struct kunit *test)
{
	const struct contiguous_case *param = test->param_value;
	struct dmae_mr *mr = test_mr(test, 0);
	unsigned long page, end = param->first + param->npages;
	u32 len = PAGES(param->npages + 1);

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, param->first,
						 param->npages, DMA_A, true));
	KUNIT_EXPECT_EQ(test, mr->entries, param->entries);
	KUNIT_EXPECT_EQ(test, count_entries(mr), param->entries);

	for (page = param->first; page < end; page += 1 + page % 97)
		KUNIT_ASSERT_EQ(test, dma_of_page(mr, page, true),
				DMA_A + PAGES(page - param->first));
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, end - 1, true),
			DMA_A + PAGES(param->npages - 1));
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, end, false), 0);
	if (param->first)
		KUNIT_EXPECT_EQ(test, dma_of_page(mr, param->first - 1, false),
				0);

	/* The entries are merged again. */
	KUNIT_EXPECT_EQ(test, dma_of(mr, PAGES(param->first), &len, true),
			DMA_A);
	KUNIT_EXPECT_EQ(test, len, PAGES(param->npages));
}

static void test_discontiguous(struct kunit *test)
{
	const unsigned long npages = 1000;
	struct dmae_mr *mr = test_mr(test, 0);
	unsigned long page;
	u32 len;

	for (page = 0; page < npages; page++)
		KUNIT_ASSERT_EQ(test, 0,
				dmae_table_fill(mr, page, 1,
						DMA_A - PAGES(page), true));
	KUNIT_EXPECT_EQ(test, mr->entries, npages);
	KUNIT_EXPECT_EQ(test, count_entries(mr), npages);

	for (page = 0; page < npages; page++) {
		len = PAGES(4);
		KUNIT_ASSERT_EQ(test, dma_of(mr, PAGES(page) + 5, &len, true),
				DMA_A - PAGES(page) + 5);
		KUNIT_ASSERT_EQ(test, len, PAGE_SIZE - 5);
	}
}

/* Pages that came one after the other, and no more than is looked at. */
static void test_merge(struct kunit *test)
{
	struct dmae_mr *mr = test_mr(test, 0);
	unsigned long page;
	u32 len;

	for (page = 0; page < 2 * MERGE_ENTRIES; page++)
		KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, page, 1,
							 DMA_A + PAGES(page),
							 page != 10));
	len = PAGES(5) + 1;
	KUNIT_EXPECT_EQ(test, dma_of(mr, 7, &len, true), DMA_A + 7);
	KUNIT_EXPECT_EQ(test, len, PAGES(5) + 1);

	/* Page 10 may not be written. */
	len = PAGES(20);
	KUNIT_EXPECT_EQ(test, dma_of(mr, 7, &len, true), DMA_A + 7);
	KUNIT_EXPECT_EQ(test, len, PAGES(10) - 7);
	len = PAGES(20);
	KUNIT_EXPECT_EQ(test, dma_of(mr, 7, &len, false), DMA_A + 7);
	KUNIT_EXPECT_EQ(test, len, PAGES(20));

	len = PAGES(2 * MERGE_ENTRIES);
	KUNIT_EXPECT_EQ(test, dma_of(mr, 7, &len, false), DMA_A + 7);
	KUNIT_EXPECT_EQ(test, len, PAGES(MERGE_ENTRIES) - 7);
}

/* Page 0 is the page that the first byte is in. */
static void test_first_offset(struct kunit *test)
{
	const unsigned int first = 0x123;
	struct dmae_mr *mr = test_mr(test, first);
	u32 len = PAGES(1);

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 2, DMA_A, true));
	KUNIT_EXPECT_EQ(test, dma_of(mr, 0, &len, true), DMA_A + first);
	KUNIT_EXPECT_EQ(test, len, PAGES(1));

	len = PAGES(2);
	KUNIT_EXPECT_EQ(test, dma_of(mr, 1, &len, true), DMA_A + first + 1);
	KUNIT_EXPECT_EQ(test, len, PAGES(2) - first - 1);

	len = 1;
	KUNIT_EXPECT_EQ(test, dma_of(mr, PAGES(2) - first - 1, &len, true),
			DMA_A + PAGES(2) - 1);
	KUNIT_EXPECT_EQ(test, dma_of(mr, PAGES(2) - first, &len, true), 0);
}

static void test_rights(struct kunit *test)
{
	struct dmae_mr *mr = test_mr(test, 0);

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 64, DMA_A, false));
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 20, false), DMA_A + PAGES(20));
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 20, true), 0);

	/* One of the pages becomes writable. */
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 20, 1, DMA_A + PAGES(20),
						 true));
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 20, true), DMA_A + PAGES(20));
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 19, true), 0);
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 21, true), 0);

	/* All of them do, and once more, which changes nothing. */
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 64, DMA_A, true));
	KUNIT_EXPECT_EQ(test, mr->entries, 1);
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 30, 7, DMA_A + PAGES(30),
						 true));
	KUNIT_EXPECT_EQ(test, mr->entries, 1);
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 63, true), DMA_A + PAGES(63));
}

static void test_refused(struct kunit *test)
{
	struct dmae_mr *mr = test_mr(test, 0);
	struct dmae_span span;
	dma_addr_t dma;
	u32 len;

	KUNIT_EXPECT_NE(test, 0, dmae_table_fill(mr, 0, 1, DMA_A + 1, true));
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 1, DMA_A, true));

	span = test_span(mr, 0, 1, false);
	span.generation++;
	KUNIT_EXPECT_EQ(test, -EFAULT,
			dmae_span_translate(&span, 0, &dma, &len));
	span = test_span(mr, mr->length, 1, false);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			dmae_span_translate(&span, 0, &dma, &len));
	span = test_span(mr, -1, 1, false);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			dmae_span_translate(&span, 0, &dma, &len));

	mr->valid = false;
	span = test_span(mr, 0, 1, false);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			dmae_span_translate(&span, 0, &dma, &len));
	KUNIT_EXPECT_EQ(test, span.hold, -1);
	KUNIT_EXPECT_EQ(test, mr->inflight[0] + mr->inflight[1], 0);
}

/* ---- filling over, and taking out ---- */

enum { MODEL_PAGES = 300 };

struct model {
	dma_addr_t dma[MODEL_PAGES];	/* what was filled in last, or 0 */
	bool write[MODEL_PAGES];
};

/*
 * A page translates to what was filled in last or, if that was replaced next to
 * it, to nothing; and never when it was taken out.
 */
static void check_model(struct kunit *test, struct dmae_mr *mr,
			const struct model *model, unsigned int step)
{
	unsigned int page;
	dma_addr_t dma;

	for (page = 0; page < MODEL_PAGES; page++) {
		dma = dma_of_page(mr, page, false);
		if (dma)
			KUNIT_ASSERT_EQ_MSG(test, dma, model->dma[page],
					    "page %u, step %u", page, step);
		dma = dma_of_page(mr, page, true);
		if (dma)
			KUNIT_ASSERT_TRUE_MSG(test, model->write[page],
					      "page %u, step %u", page, step);
	}
	KUNIT_ASSERT_EQ(test, count_entries(mr), mr->entries);
}

static void model_fill(struct kunit *test, struct dmae_mr *mr,
		       struct model *model, unsigned int first,
		       unsigned int npages, dma_addr_t dma, bool write)
{
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, first, npages, dma,
						 write));
	for (i = 0; i < npages; i++) {
		model->dma[first + i] = dma + PAGES(i);
		model->write[first + i] = write;
		KUNIT_ASSERT_EQ(test, dma_of_page(mr, first + i, write),
				dma + PAGES(i));
	}
}

static void model_zap(struct dmae_mr *mr, struct model *model,
		      unsigned int first, unsigned int npages)
{
	dmae_table_zap(mr, first, first + npages - 1);
	memset(&model->dma[first], 0, npages * sizeof(model->dma[0]));
	memset(&model->write[first], 0, npages * sizeof(model->write[0]));
}

static void test_random(struct kunit *test)
{
	struct model *model = kunit_kzalloc(test, sizeof(*model), GFP_KERNEL);
	struct dmae_mr *mr = test_mr(test, 0);
	unsigned int step, first, npages;
	struct rnd_state rnd;
	dma_addr_t dma;

	KUNIT_ASSERT_NOT_NULL(test, model);
	prandom_seed_state(&rnd, 1);

	for (step = 0; step < 400; step++) {
		first = prandom_u32_state(&rnd) % MODEL_PAGES;
		npages = prandom_u32_state(&rnd) % 3 ? 17 : MODEL_PAGES;
		npages = 1 + prandom_u32_state(&rnd) %
				 min(npages, MODEL_PAGES - first);
		/* Often what is there already, or what continues it. */
		dma = (step & 3 ? DMA_A : DMA_B) + PAGES(first);
		if (step % 5)
			model_fill(test, mr, model, first, npages, dma,
				   prandom_u32_state(&rnd) & 1);
		else
			model_zap(mr, model, first, npages);
		check_model(test, mr, model, step);
	}
}

static void test_zap_bounds(struct kunit *test)
{
	struct dmae_mr *mr = test_mr(test, 0);

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 64, DMA_A, true));
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 64, 1, DMA_B, true));
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 4096, 4096, DMA_B, true));

	/* Whole entries, and no others. */
	dmae_table_zap(mr, 63, 63);
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 0, false), 0);
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 64, false), DMA_B);
	KUNIT_EXPECT_EQ(test, mr->entries, 2);
	dmae_table_zap(mr, 65, 4095);
	KUNIT_EXPECT_EQ(test, mr->entries, 2);
	dmae_table_zap(mr, 8191, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, mr->entries, 1);
	dmae_table_zap(mr, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, mr->entries, 0);
	KUNIT_EXPECT_EQ(test, count_entries(mr), 0);
}

/* More than is taken out at a time. */
static void test_zap_many(struct kunit *test)
{
	const unsigned long npages = 2 * ZAP_ENTRIES + 1;
	struct dmae_mr *mr = test_mr(test, 0);
	unsigned long page;

	for (page = 0; page < npages; page++)
		KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 2 * page, 1,
							 DMA_A, true));
	dmae_table_zap(mr, 0, 2 * npages);
	KUNIT_EXPECT_EQ(test, mr->entries, 0);
	KUNIT_EXPECT_EQ(test, count_entries(mr), 0);
}

/* What is reserved is used, and what is not is freed. */
static void test_reserve(struct kunit *test)
{
	struct dmae_mr *mr = test_mr(test, 0);

	KUNIT_ASSERT_EQ(test, 0, dmae_table_reserve(mr));
	KUNIT_ASSERT_EQ(test, 0, dmae_table_reserve(mr));
	KUNIT_EXPECT_NOT_NULL(test, mr->spare);
	/* The first page alone needs no node. */
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 1, DMA_A, true));
	KUNIT_EXPECT_NOT_NULL(test, mr->spare);
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 1, 1, DMA_B, true));
	KUNIT_EXPECT_NULL(test, mr->spare);
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 0, true), DMA_A);
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 1, true), DMA_B);
	KUNIT_ASSERT_EQ(test, 0, dmae_table_reserve(mr));
}

/* ---- what a zap waits for ---- */

struct zapper {
	struct dmae_mr *mr;
	unsigned long first, last;
	struct completion done;
};

static int zap_thread(void *arg)
{
	struct zapper *zapper = arg;

	dmae_table_zap(zapper->mr, zapper->first, zapper->last);
	complete(&zapper->done);
	return 0;
}

static void zap_begin(struct kunit *test, struct zapper *zapper,
		      struct dmae_mr *mr, unsigned long first,
		      unsigned long last)
{
	struct task_struct *task;

	zapper->mr = mr;
	zapper->first = first;
	zapper->last = last;
	init_completion(&zapper->done);
	task = kthread_run(zap_thread, zapper, "dmae_zap_test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
}

static bool zap_waits(struct zapper *zapper)
{
	return !wait_for_completion_timeout(&zapper->done, HZ / 20);
}

/* Which has to happen before the end of the test: it uses the stack. */
static void zap_end(struct zapper *zapper)
{
	wait_for_completion(&zapper->done);
}

static void hold_page(struct kunit *test, struct dmae_span *span,
		      struct dmae_mr *mr, unsigned long page)
{
	dma_addr_t dma;
	u32 len;

	*span = test_span(mr, PAGES(page), 1, true);
	KUNIT_EXPECT_EQ(test, 0, dmae_span_translate(span, 0, &dma, &len));
}

static void test_zap_waits(struct kunit *test)
{
	struct dmae_mr *mr = test_mr(test, 0);
	struct dmae_span first, second;
	struct zapper zapper;

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 8, DMA_A, true));
	hold_page(test, &first, mr, 3);
	hold_page(test, &second, mr, 3);

	zap_begin(test, &zapper, mr, 0, 7);
	KUNIT_EXPECT_TRUE(test, zap_waits(&zapper));
	/* It is out of the table by now. */
	KUNIT_EXPECT_EQ(test, dma_of_page(mr, 3, false), 0);
	dmae_span_release(&first);
	dmae_span_release(&first);
	KUNIT_EXPECT_TRUE(test, zap_waits(&zapper));
	dmae_span_release(&second);
	zap_end(&zapper);
	KUNIT_EXPECT_EQ(test, mr->inflight[0] + mr->inflight[1], 0);
}

/* Also when what is held was taken out already, by filling something over. */
static void test_zap_waits_replaced(struct kunit *test)
{
	struct dmae_mr *mr = test_mr(test, 0);
	struct zapper zapper;
	struct dmae_span span;

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 8, DMA_A, true));
	hold_page(test, &span, mr, 3);
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 5, 1, DMA_A + PAGES(5),
						 false));

	zap_begin(test, &zapper, mr, 3, 3);
	KUNIT_EXPECT_TRUE(test, zap_waits(&zapper));
	dmae_span_release(&span);
	zap_end(&zapper);
}

static void test_zap_ignores_later(struct kunit *test)
{
	struct dmae_span before, after;
	struct dmae_mr *mr = test_mr(test, 0);
	struct zapper zapper;
	dma_addr_t dma;
	u32 len;

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 8, DMA_A, true));
	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 8, 8, DMA_B, true));
	hold_page(test, &before, mr, 3);

	zap_begin(test, &zapper, mr, 0, 7);
	KUNIT_EXPECT_TRUE(test, zap_waits(&zapper));
	hold_page(test, &after, mr, 9);
	/* More for one that is waited for: it stays so, see the next zap. */
	before.addr = mr->iova + PAGES(10);
	KUNIT_EXPECT_EQ(test, 0, dmae_span_translate(&before, 0, &dma, &len));
	dmae_span_release(&before);
	zap_end(&zapper);
	KUNIT_EXPECT_EQ(test, mr->inflight[0] + mr->inflight[1], 1);

	/* The one after it does wait. */
	zap_begin(test, &zapper, mr, 8, 15);
	KUNIT_EXPECT_TRUE(test, zap_waits(&zapper));
	dmae_span_release(&after);
	zap_end(&zapper);
	KUNIT_EXPECT_EQ(test, mr->inflight[0] + mr->inflight[1], 0);
}

/* Two at a time: the second does not overtake the first. */
static void test_zaps_in_turn(struct kunit *test)
{
	struct dmae_mr *mr = test_mr(test, 0);
	struct zapper first, second;
	struct dmae_span span;

	KUNIT_ASSERT_EQ(test, 0, dmae_table_fill(mr, 0, 16, DMA_A, true));
	hold_page(test, &span, mr, 3);

	zap_begin(test, &first, mr, 0, 7);
	KUNIT_EXPECT_TRUE(test, zap_waits(&first));
	zap_begin(test, &second, mr, 8, 15);
	KUNIT_EXPECT_TRUE(test, zap_waits(&second));
	KUNIT_EXPECT_TRUE(test, zap_waits(&first));
	dmae_span_release(&span);
	zap_end(&first);
	zap_end(&second);
}

static struct kunit_case dmae_table_cases[] = {
	KUNIT_CASE_PARAM(test_contiguous, contiguous_gen_params),
	KUNIT_CASE(test_discontiguous),
	KUNIT_CASE(test_merge),
	KUNIT_CASE(test_first_offset),
	KUNIT_CASE(test_rights),
	KUNIT_CASE(test_refused),
	KUNIT_CASE(test_random),
	KUNIT_CASE(test_zap_bounds),
	KUNIT_CASE(test_zap_many),
	KUNIT_CASE(test_reserve),
	KUNIT_CASE(test_zap_waits),
	KUNIT_CASE(test_zap_waits_replaced),
	KUNIT_CASE(test_zap_ignores_later),
	KUNIT_CASE(test_zaps_in_turn),
	{}
};

static struct kunit_suite dmae_table_suite = {
	.name = "dmae_table",
	.test_cases = dmae_table_cases,
};

kunit_test_suite(dmae_table_suite);
