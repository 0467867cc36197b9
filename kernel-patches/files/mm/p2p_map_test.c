// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for p2p_map.c, which includes this file.
 */
#include <kunit/test.h>

#define BASE	0x10000000UL
#define PAGES(n) ((n) * PAGE_SIZE)

/* ---- runs_cover_request() ---- */

struct runs_case {
	const char *name;
	struct p2p_run runs[3];
	unsigned int nr_runs;
	bool covers;
};

/* All for a request of four pages from BASE on. */
static const struct runs_case runs_cases[] = {
	{ "one run", { { BASE, PAGES(4) } }, 1, true },
	{ "three runs", { { BASE, PAGES(1) }, { BASE + PAGES(1), PAGES(2) },
			  { BASE + PAGES(3), PAGES(1) } }, 3, true },
	{ "no run", {}, 0, false },
	{ "starts too late", { { BASE + PAGES(1), PAGES(3) } }, 1, false },
	{ "starts too early", { { BASE - PAGES(1), PAGES(5) } }, 1, false },
	{ "ends too early", { { BASE, PAGES(3) } }, 1, false },
	{ "one page too long", { { BASE, PAGES(5) } }, 1, false },
	{ "second is one page too long", { { BASE, PAGES(2) },
			  { BASE + PAGES(2), PAGES(3) } }, 2, false },
	{ "one run too many", { { BASE, PAGES(4) },
			  { BASE + PAGES(4), PAGES(1) } }, 2, false },
	{ "gap", { { BASE, PAGES(1) }, { BASE + PAGES(2), PAGES(2) } },
	  2, false },
	{ "overlap", { { BASE, PAGES(2) }, { BASE + PAGES(1), PAGES(3) } },
	  2, false },
	{ "descending", { { BASE + PAGES(2), PAGES(2) }, { BASE, PAGES(2) } },
	  2, false },
	{ "empty run", { { BASE, 0 }, { BASE, PAGES(4) } }, 2, false },
	{ "empty run at the end", { { BASE, PAGES(4) },
			  { BASE + PAGES(4), 0 } }, 2, false },
	{ "not whole pages", { { BASE, PAGES(1) / 2 },
			  { BASE + PAGES(1) / 2, PAGES(7) / 2 } }, 2, false },
	{ "bytes too long", { { BASE, PAGES(4) + 1 } }, 1, false },
	{ "around the address space to the end", { { BASE, -PAGES(4) },
			  { BASE - PAGES(4), PAGES(8) } }, 2, false },
	{ "the largest length", { { BASE, -PAGES(1) } }, 1, false },
};

KUNIT_ARRAY_PARAM_DESC(runs, runs_cases, name);

static void test_runs_cover_request(struct kunit *test)
{
	const struct runs_case *param = test->param_value;
	struct p2p_request req = { .start = BASE, .end = BASE + PAGES(4) };
	struct p2p_mapping map = {
		.runs = param->runs,
		.nr_runs = param->nr_runs,
	};

	KUNIT_EXPECT_EQ(test, runs_cover_request(&map, &req), param->covers);
}

/* ---- p2p_mapping_lookup() ---- */

/* A mapping of runs of these many pages, each somewhere else for the importer. */
static struct p2p_mapping *runs_of(struct kunit *test, const size_t *pages,
				   unsigned int nr)
{
	struct p2p_mapping *map = kunit_kzalloc(test, sizeof(*map), GFP_KERNEL);
	struct p2p_run *runs = kunit_kcalloc(test, nr, sizeof(*runs),
					     GFP_KERNEL);
	unsigned long addr = BASE;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, map);
	KUNIT_ASSERT_NOT_NULL(test, runs);

	for (i = 0; i < nr; i++) {
		runs[i].start = addr;
		runs[i].len = PAGES(pages[i]);
		/* The next run is lower, and not adjacent. */
		runs[i].addr = (dma_addr_t)(nr - i) << 24;
		runs[i].iomem = i % 2;
		addr += runs[i].len;
	}
	map->runs = runs;
	map->nr_runs = nr;
	map->node.start = BASE;
	map->node.last = addr - 1;
	return map;
}

static void expect_run(struct kunit *test, const struct p2p_mapping *map,
		       unsigned int nr, size_t offset)
{
	const struct p2p_run *want = &map->runs[nr];
	struct p2p_run run = {};

	KUNIT_ASSERT_TRUE_MSG(test,
			      p2p_mapping_lookup(map, want->start + offset, &run),
			      "byte %zu of run %u of %u", offset, nr, map->nr_runs);
	KUNIT_EXPECT_EQ(test, run.start, want->start + offset);
	KUNIT_EXPECT_EQ(test, run.len, want->len - offset);
	KUNIT_EXPECT_EQ(test, run.addr, want->addr + offset);
	KUNIT_EXPECT_EQ(test, run.iomem, want->iomem);
}

static void expect_outside(struct kunit *test, const struct p2p_mapping *map)
{
	const unsigned long addrs[] = {
		0, BASE - PAGES(1), BASE - 1, map->node.last + 1,
		map->node.last + PAGES(1), ULONG_MAX,
	};
	struct p2p_run run;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(addrs); i++)
		KUNIT_EXPECT_FALSE_MSG(test,
				       p2p_mapping_lookup(map, addrs[i], &run),
				       "%#lx, %u runs", addrs[i], map->nr_runs);
}

static void test_lookup_one_run(struct kunit *test)
{
	const size_t pages[] = { 3 };
	struct p2p_mapping *map = runs_of(test, pages, 1);

	expect_run(test, map, 0, 0);
	expect_run(test, map, 0, 1);
	expect_run(test, map, 0, PAGES(1) - 1);
	expect_run(test, map, 0, PAGES(1));
	expect_run(test, map, 0, PAGES(3) - 1);
	expect_outside(test, map);
}

/* Every run of mappings with one to 64 of them, from all sides. */
static void test_lookup_many_runs(struct kunit *test)
{
	struct p2p_mapping *map;
	unsigned int nr, i;
	size_t pages[64];

	for (i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = 1 + i * 7 % 5;

	for (nr = 1; nr <= ARRAY_SIZE(pages); nr++) {
		map = runs_of(test, pages, nr);
		for (i = 0; i < nr; i++) {
			expect_run(test, map, i, 0);
			expect_run(test, map, i, 1);
			expect_run(test, map, i, map->runs[i].len / 2);
			expect_run(test, map, i, map->runs[i].len - 1);
		}
		expect_outside(test, map);
	}
}

/* At the upper end of the address space "one after the last" is 0. */
static void test_lookup_last_page(struct kunit *test)
{
	const struct p2p_run last = { .start = -PAGES(1), .len = PAGES(1) };
	const struct p2p_mapping map = {
		.runs = &last,
		.nr_runs = 1,
		.node = { .start = -PAGES(1), .last = ULONG_MAX },
	};
	struct p2p_run run;

	expect_run(test, &map, 0, 0);
	expect_run(test, &map, 0, PAGES(1) - 1);
	KUNIT_EXPECT_FALSE(test, p2p_mapping_lookup(&map, 0, &run));
}

/* ---- p2p_map_vma() and an exporter ---- */

struct fake_exporter {
	unsigned int maps, unmaps;
	int err;
	const struct vm_operations_struct *wrapped;
	struct p2p_run run;
	struct p2p_mapping map;
	struct vm_area_struct vma;
	struct mm_struct mm;
};

static struct p2p_mapping *fake_p2p_map(struct vm_area_struct *vma,
					struct p2p_request *req)
{
	struct fake_exporter *exporter = vma->vm_private_data;

	exporter->maps++;
	if (exporter->err)
		return p2p_refuse(req, NULL, exporter->err, "the test says so");

	exporter->run.start = req->start;
	exporter->run.len = req->end - req->start;
	exporter->map.runs = &exporter->run;
	exporter->map.nr_runs = 1;
	exporter->map.vm_ops = exporter->wrapped;
	return &exporter->map;
}

static void fake_p2p_unmap(struct p2p_mapping *map)
{
	container_of(map, struct fake_exporter, map)->unmaps++;
}

static const struct vm_operations_struct fake_vm_ops = {
	.p2p_map = fake_p2p_map,
	.p2p_unmap = fake_p2p_unmap,
};

/* What a file system that wraps the operations of others has. */
static const struct vm_operations_struct fake_wrapper_vm_ops = {
	.p2p_map = fake_p2p_map,
};

static const struct vm_operations_struct fake_plain_vm_ops = {};

/* Eight pages from BASE on. */
static struct fake_exporter *fake_exporter(struct kunit *test,
					   vm_flags_t flags)
{
	struct fake_exporter *exporter =
		kunit_kzalloc(test, sizeof(*exporter), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, exporter);
	mmap_init_lock(&exporter->mm);
	exporter->vma.vm_mm = &exporter->mm;
	exporter->vma.vm_start = BASE;
	exporter->vma.vm_end = BASE + PAGES(8);
	exporter->vma.vm_ops = &fake_vm_ops;
	exporter->vma.vm_private_data = exporter;
	vm_flags_init(&exporter->vma, flags);
	return exporter;
}

static struct p2p_mapping *fake_map(struct fake_exporter *exporter,
				    struct p2p_request *req)
{
	struct p2p_mapping *map;

	down_read(&exporter->mm.mmap_lock);
	map = p2p_map_vma(&exporter->vma, req);
	up_read(&exporter->mm.mmap_lock);
	return map;
}

#define SHARED_RW (VM_SHARED | VM_MAYSHARE | VM_READ | VM_MAYREAD | \
		   VM_WRITE | VM_MAYWRITE)
#define SHARED_RO (VM_SHARED | VM_MAYSHARE | VM_READ | VM_MAYREAD | \
		   VM_MAYWRITE)

static void test_vma_is_p2p(struct kunit *test)
{
	struct fake_exporter *exporter = fake_exporter(test, SHARED_RW);
	struct vm_area_struct *vma = &exporter->vma;

	KUNIT_EXPECT_TRUE(test, vma_is_p2p(vma));
	vm_flags_init(vma, SHARED_RO);
	KUNIT_EXPECT_TRUE(test, vma_is_p2p(vma));
	/* MAP_SHARED of a file that is open for reading only. */
	vm_flags_init(vma, VM_MAYSHARE | VM_READ | VM_MAYREAD);
	KUNIT_EXPECT_TRUE(test, vma_is_p2p(vma));
	/* MAP_PRIVATE, which may be written now or after an mprotect(). */
	vm_flags_init(vma, VM_READ | VM_MAYREAD | VM_WRITE | VM_MAYWRITE);
	KUNIT_EXPECT_FALSE(test, vma_is_p2p(vma));
	vm_flags_init(vma, VM_READ | VM_MAYREAD | VM_MAYWRITE);
	KUNIT_EXPECT_FALSE(test, vma_is_p2p(vma));

	vm_flags_init(vma, SHARED_RW);
	vma->vm_ops = &fake_plain_vm_ops;
	KUNIT_EXPECT_FALSE(test, vma_is_p2p(vma));
	vma->vm_ops = NULL;
	KUNIT_EXPECT_FALSE(test, vma_is_p2p(vma));
}

static void test_map_vma(struct kunit *test)
{
	struct fake_exporter *exporter = fake_exporter(test, SHARED_RW);
	struct p2p_request req = {
		.start = BASE + PAGES(1),
		.end = BASE + PAGES(7),
		.write = true,
		.reason = "that of an earlier failure",
	};
	struct p2p_mapping *map = fake_map(exporter, &req);

	KUNIT_ASSERT_PTR_EQ(test, map, &exporter->map);
	KUNIT_EXPECT_EQ(test, p2p_mapping_start(map), BASE + PAGES(1));
	KUNIT_EXPECT_EQ(test, p2p_mapping_end(map), BASE + PAGES(7));
	KUNIT_EXPECT_TRUE(test, map->write);
	KUNIT_EXPECT_PTR_EQ(test, map->vm_ops, &fake_vm_ops);
	KUNIT_EXPECT_STREQ(test, req.reason, "");
	KUNIT_EXPECT_EQ(test, exporter->unmaps, 0);

	p2p_unmap(map);
	KUNIT_EXPECT_EQ(test, exporter->maps, 1);
	KUNIT_EXPECT_EQ(test, exporter->unmaps, 1);
}

static void test_map_vma_to_the_edges(struct kunit *test)
{
	struct fake_exporter *exporter = fake_exporter(test, SHARED_RW);
	struct p2p_request req = { .start = BASE, .end = BASE + PAGES(8) };
	struct p2p_mapping *map = fake_map(exporter, &req);

	KUNIT_ASSERT_PTR_EQ(test, map, &exporter->map);
	KUNIT_EXPECT_FALSE(test, map->write);
	p2p_unmap(map);
}

/* The mapping is that of the operations behind the wrapper. */
static void test_map_vma_of_wrapper(struct kunit *test)
{
	struct fake_exporter *exporter = fake_exporter(test, SHARED_RW);
	struct p2p_request req = { .start = BASE, .end = BASE + PAGES(1) };
	struct p2p_mapping *map;

	exporter->vma.vm_ops = &fake_wrapper_vm_ops;
	exporter->wrapped = &fake_vm_ops;

	map = fake_map(exporter, &req);
	KUNIT_ASSERT_PTR_EQ(test, map, &exporter->map);
	KUNIT_ASSERT_PTR_EQ(test, map->vm_ops, &fake_vm_ops);
	p2p_unmap(map);
	KUNIT_EXPECT_EQ(test, exporter->unmaps, 1);
}

/* Not more than the process may do; the exporter is not even asked. */
static void test_map_vma_access(struct kunit *test)
{
	struct fake_exporter *exporter = fake_exporter(test, SHARED_RO);
	struct p2p_request req = {
		.start = BASE,
		.end = BASE + PAGES(1),
		.write = true,
	};
	struct p2p_mapping *map;

	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_map(exporter, &req)), -EACCES);
	KUNIT_EXPECT_STREQ(test, req.exporter, "the kernel");
	KUNIT_EXPECT_STREQ(test, req.reason, "the mapping is read-only");

	vm_flags_init(&exporter->vma, SHARED_RW & ~VM_READ);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_map(exporter, &req)), -EACCES);
	req.write = false;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_map(exporter, &req)), -EACCES);
	KUNIT_EXPECT_EQ(test, exporter->maps, 0);

	vm_flags_init(&exporter->vma, SHARED_RO);
	map = fake_map(exporter, &req);
	KUNIT_ASSERT_PTR_EQ(test, map, &exporter->map);
	p2p_unmap(map);
}

static void test_map_vma_refused(struct kunit *test)
{
	struct fake_exporter *exporter = fake_exporter(test, SHARED_RW);
	struct p2p_request req = { .start = BASE, .end = BASE + PAGES(1) };

	exporter->err = -EPERM;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_map(exporter, &req)), -EPERM);
	KUNIT_EXPECT_STREQ(test, req.reason, "the test says so");
	KUNIT_EXPECT_EQ(test, exporter->unmaps, 0);
}

static void test_refuse(struct kunit *test)
{
	struct device *dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);
	struct p2p_request req = {};

	KUNIT_ASSERT_NOT_NULL(test, dev);
	dev->init_name = "0123456789abcdef0123456789abcdefXYZ";
	KUNIT_EXPECT_EQ(test, PTR_ERR(p2p_refuse(&req, dev, -ENODEV, "gone")),
			-ENODEV);
	KUNIT_EXPECT_STREQ(test, req.exporter, "0123456789abcdef0123456789abcde");
	KUNIT_EXPECT_STREQ(test, req.reason, "gone");
}

/* ---- p2p_map_private() and an owner of pages ---- */

struct fake_owner {
	unsigned int maps, unmaps;
	int err;
	struct p2p_run run;
	struct p2p_mapping map;
	struct page page;
	struct dev_pagemap pgmap;
	struct dev_pagemap_ops ops;
};

static struct p2p_mapping *fake_private_map(struct page *const *pages,
					    struct p2p_request *req)
{
	struct fake_owner *owner =
		container_of(pages[0], struct fake_owner, page);

	owner->maps++;
	if (owner->err)
		return ERR_PTR(owner->err);
	owner->run.start = req->start;
	owner->map.runs = &owner->run;
	owner->map.nr_runs = 1;
	return &owner->map;
}

static void fake_private_unmap(struct p2p_mapping *map)
{
	container_of(map, struct fake_owner, map)->unmaps++;
}

static void fake_pgmap_release(struct percpu_ref *ref) {}

static void fake_pgmap_exit(void *ref)
{
	percpu_ref_exit(ref);
}

/* Of one page, at BASE. */
static struct fake_owner *fake_owner(struct kunit *test)
{
	struct fake_owner *owner =
		kunit_kzalloc(test, sizeof(*owner), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, owner);
	/* Not per CPU, so that references can be seen. */
	KUNIT_ASSERT_EQ(test, 0, percpu_ref_init(&owner->pgmap.ref,
						 fake_pgmap_release,
						 PERCPU_REF_INIT_ATOMIC,
						 GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fake_pgmap_exit,
							   &owner->pgmap.ref));
	owner->page.pgmap = &owner->pgmap;
	owner->pgmap.ops = &owner->ops;
	owner->ops.p2p_map = fake_private_map;
	owner->ops.p2p_unmap = fake_private_unmap;
	owner->run.len = PAGE_SIZE;
	return owner;
}

static long pgmap_refs(struct fake_owner *owner)
{
	return atomic_long_read(&owner->pgmap.ref.data->count);
}

static void test_map_private(struct kunit *test)
{
	struct p2p_request req = { .start = BASE, .end = BASE + PAGE_SIZE };
	struct fake_owner *owner = fake_owner(test);
	struct page *pages[] = { &owner->page };
	struct p2p_mapping *map;

	map = p2p_map_private(pages, &req);
	KUNIT_ASSERT_PTR_EQ(test, map, &owner->map);
	KUNIT_EXPECT_EQ(test, p2p_mapping_start(map), BASE);
	KUNIT_EXPECT_EQ(test, p2p_mapping_end(map), BASE + PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, map->write);
	KUNIT_EXPECT_EQ(test, pgmap_refs(owner), 2);

	p2p_unmap(map);
	KUNIT_EXPECT_EQ(test, owner->unmaps, 1);
	KUNIT_EXPECT_EQ(test, pgmap_refs(owner), 1);
}

static void test_map_private_refused(struct kunit *test)
{
	struct p2p_request req = { .start = BASE, .end = BASE + PAGE_SIZE };
	struct fake_owner *owner = fake_owner(test);
	struct page *pages[] = { &owner->page };

	owner->err = -EBUSY;
	KUNIT_EXPECT_EQ(test, PTR_ERR(p2p_map_private(pages, &req)), -EBUSY);
	KUNIT_EXPECT_EQ(test, pgmap_refs(owner), 1);

	owner->ops.p2p_map = NULL;
	KUNIT_EXPECT_EQ(test, PTR_ERR(p2p_map_private(pages, &req)), -EPERM);
	KUNIT_EXPECT_STREQ(test, req.reason, "its driver does not export it");
	KUNIT_EXPECT_EQ(test, owner->maps, 1);
	KUNIT_EXPECT_EQ(test, owner->unmaps, 0);
}

static struct kunit_case p2p_map_cases[] = {
	KUNIT_CASE_PARAM(test_runs_cover_request, runs_gen_params),
	KUNIT_CASE(test_lookup_one_run),
	KUNIT_CASE(test_lookup_many_runs),
	KUNIT_CASE(test_lookup_last_page),
	KUNIT_CASE(test_vma_is_p2p),
	KUNIT_CASE(test_map_vma),
	KUNIT_CASE(test_map_vma_to_the_edges),
	KUNIT_CASE(test_map_vma_of_wrapper),
	KUNIT_CASE(test_map_vma_access),
	KUNIT_CASE(test_map_vma_refused),
	KUNIT_CASE(test_refuse),
	KUNIT_CASE(test_map_private),
	KUNIT_CASE(test_map_private_refused),
	{}
};

static struct kunit_suite p2p_map_suite = {
	.name = "p2p_map",
	.test_cases = p2p_map_cases,
};

kunit_test_suite(p2p_map_suite);
