// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "../verbs/sysfs.h"
#include "display.h"

#include <fcntl.h>
#include <libgen.h>
#include <qxl_drm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

const struct gpu bochs = { "bochs-drm", true, "vram-mm" };
const struct gpu qxl = { "qxl", false, "qxl_mem_mm" };

/* Lines of 4 KiB. */
enum { WIDTH = 1024, BPP = 32, PITCH = WIDTH * BPP / 8 };

/* Whose driver is it? */
static bool is_driven_by(int fd, const char *driver)
{
	drmVersion *version = drmGetVersion(fd);
	bool is = version && !strcmp(version->name, driver);

	drmFreeVersion(version);
	return is;
}

static void find_pci(struct display *d)
{
	char path[64], *device;

	snprintf(path, sizeof(path), "/sys/class/drm/card%d/device", d->minor);
	device = realpath(path, NULL);
	if (!device)
		fail("%s: %s", path, strerror(errno));
	snprintf(d->pci, sizeof(d->pci), "%s", device);
	free(device);
}

struct display display_open(const struct gpu *gpu)
{
	struct display d = { .gpu = gpu };
	char path[32];

	for (d.minor = 0; d.minor < 8; d.minor++) {
		snprintf(path, sizeof(path), "/dev/dri/card%d", d.minor);
		d.fd = open(path, O_RDWR | O_CLOEXEC);
		if (d.fd < 0)
			continue;
		if (is_driven_by(d.fd, gpu->driver)) {
			find_pci(&d);
			return d;
		}
		close(d.fd);
	}
	skip("the machine has no GPU of %s", gpu->driver);
}

void display_close(struct display *d)
{
	close(d->fd);
}

size_t display_vram_used(const struct display *d)
{
	char path[80], line[256];
	size_t used = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%d/%s", d->minor,
		 d->gpu->vram);
	f = fopen(path, "r");
	if (!f)
		fail("%s: %s", path, strerror(errno));
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, " usage: %zu", &used) == 1;
	fclose(f);
	if (!found)
		fail("%s does not say how much is used", path);
	return used;
}

void display_bind(const struct display *d, bool bind)
{
	char folder[80], name[256];

	snprintf(folder, sizeof(folder), "/sys/bus/pci/drivers/%s",
		 d->gpu->driver);
	snprintf(name, sizeof(name), "%s", d->pci);
	if (write_in(folder, bind ? "bind" : "unbind", basename(name)))
		fail("%s: %s", folder, strerror(errno));
}

/* qxl's dumb buffers never leave memory of the host. */
static void create_qxl(const struct display *d, struct vram *v)
{
	struct drm_qxl_alloc alloc = { .size = v->len };
	struct drm_qxl_map map = {};

	if (drmIoctl(d->fd, DRM_IOCTL_QXL_ALLOC, &alloc))
		fail("DRM_IOCTL_QXL_ALLOC: %s", strerror(errno));
	v->handle = map.handle = alloc.handle;
	if (drmIoctl(d->fd, DRM_IOCTL_QXL_MAP, &map))
		fail("DRM_IOCTL_QXL_MAP: %s", strerror(errno));
	v->map_offset = map.offset;
}

static void create_dumb(const struct display *d, struct vram *v)
{
	uint32_t pitch;
	uint64_t size;

	if (drmModeCreateDumbBuffer(d->fd, WIDTH, v->len / PITCH, BPP, 0,
				    &v->handle, &pitch, &size))
		fail("drmModeCreateDumbBuffer: %s", strerror(errno));
	if (pitch != PITCH || size != v->len)
		fail("a dumb buffer of %ju bytes instead of %zu",
		     (uintmax_t)size, v->len);
	if (drmModeMapDumbBuffer(d->fd, v->handle, &v->map_offset))
		fail("drmModeMapDumbBuffer: %s", strerror(errno));
}

struct vram vram_open(const struct display *d, size_t len)
{
	struct vram v = { .len = len };

	if (d->gpu == &qxl)
		create_qxl(d, &v);
	else
		create_dumb(d, &v);
	v.addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd,
		      v.map_offset);
	if (v.addr == MAP_FAILED)
		fail("mmap of %zu bytes of %s: %s", len, d->gpu->driver,
		     strerror(errno));
	return v;
}

void vram_free(const struct display *d, const struct vram *v)
{
	if (v->fb)
		drmModeRmFB(d->fd, v->fb);
	drmCloseBufferHandle(d->fd, v->handle);
}

void vram_close(const struct display *d, struct vram *v)
{
	unmap(v->addr, v->len);
	vram_free(d, v);
}

/* A mode for which the buffer has enough lines. */
static drmModeModeInfo *fitting_mode(const drmModeConnector *connector,
				     const struct vram *v)
{
	int i;

	for (i = 0; connector && i < connector->count_modes; i++)
		if (connector->modes[i].hdisplay <= WIDTH &&
		    connector->modes[i].vdisplay <= v->len / PITCH)
			return &connector->modes[i];
	fail("no mode for a buffer of %zu bytes", v->len);
}

/*
 * What somebody is just mapping keeps its place: TTM takes another one, if there
 * is one.
 */
static int set_crtc(const struct display *d, struct vram *v, drmModeRes *res,
		    drmModeModeInfo *mode)
{
	double until = now() + patience(0);

	while (drmModeSetCrtc(d->fd, res->crtcs[0], v->fb, 0, 0,
			      res->connectors, 1, mode)) {
		if (errno != ENOMEM || now() > until)
			return errno;
		usleep(1000);
	}
	return 0;
}

void vram_show(const struct display *d, struct vram *v)
{
	drmModeRes *res = drmModeGetResources(d->fd);
	int err;
	drmModeConnector *connector;
	drmModeModeInfo *mode;

	if (!res || !res->count_connectors || !res->count_crtcs)
		fail("%s has nothing to show it on", d->gpu->driver);
	connector = drmModeGetConnector(d->fd, res->connectors[0]);
	mode = fitting_mode(connector, v);
	if (!v->fb && drmModeAddFB(d->fd, WIDTH, v->len / PITCH, 24, BPP, PITCH,
				   v->handle, &v->fb))
		fail("drmModeAddFB: %s", strerror(errno));
	err = set_crtc(d, v, res, mode);
	if (err)
		fail("drmModeSetCrtc: %s", strerror(err));
	drmModeFreeConnector(connector);
	drmModeFreeResources(res);
}
