#include "devices/display/vga.h"

#include <string.h>

/* Sequencer */
#define SR_PLANE_MASK 2
#define SR_MEMORY     4
#define SR_CHAIN4     0x08
#define SR_SEQUENTIAL 0x04 /* no odd/even */
/* Graphics controller */
#define GR_SET_RESET    0
#define GR_ENABLE_SR    1
#define GR_COMPARE      2
#define GR_ROTATE       3
#define GR_READ_PLANE   4
#define GR_MODE         5
#define GR_MISC         6
#define GR_DONT_CARE    7
#define GR_BIT_MASK     8
#define GR_MODE_READ1   0x08
#define GR_MODE_ODDEVEN 0x10
/* Misc output: the colour addresses 3Dxh; else the monochrome ones 3Bxh. */
#define MISC_COLOR 0x01
/* CRTC: 0 to 7 are write-protected by bit 7 of 11h, but for one bit of 7. */
#define CR_PROTECT_REG  0x11
#define CR_PROTECT      0x80
#define CR_OVERFLOW     0x07
#define CR_OVERFLOW_LC8 0x10
#define STATUS1_RETRACE 0x09

#define VBE_ID_OURS  0xb0c5
#define VBE_ID_MIN   0xb0c0
#define VBE_XRES_MAX 5120
#define VBE_YRES_MAX 2880
#define BANK_SIZE    0x10000

/* A bit for each plane → all bits of its byte. */
static uint32_t planes(unsigned bits)
{
    return (bits & 1 ? 0xffu : 0) | (bits & 2 ? 0xff00u : 0) | (bits & 4 ? 0xff0000u : 0) |
           (bits & 8 ? 0xff000000u : 0);
}

bool vga_vbe_on(const Vga *v)
{
    return v->vbe[VBE_ENABLE] & VBE_ENABLED;
}

/* --- Memory --- */

/* Where in the 128 KiB the window of the memory map lies; false: the address is outside. */
static bool map_address(const Vga *v, hwaddr *addr)
{
    static const struct {
        uint32_t base, size;
    } windows[] = { { 0, 0x20000 }, { 0, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 } };
    unsigned n = v->gr[GR_MISC] >> 2 & 3;

    if (*addr < windows[n].base || *addr - windows[n].base >= windows[n].size) {
        return false;
    }
    *addr -= windows[n].base;
    if (vga_vbe_on(v) && n <= 1) {
        *addr = (*addr & (BANK_SIZE - 1)) + (hwaddr)v->vbe[VBE_BANK] * BANK_SIZE;
    }
    return true;
}

static void write_planes(Vga *v, uint32_t at, uint8_t value)
{
    uint32_t mask = planes(v->sr[SR_PLANE_MASK]), bits, data, old;
    unsigned rotate = v->gr[GR_ROTATE] & 7;
    uint8_t turned = (uint8_t)(value >> rotate | value << (8 - rotate));

    switch (v->gr[GR_MODE] & 3) {
    case 1:
        data = v->latch;
        goto store;
    case 2:
        bits = v->gr[GR_BIT_MASK];
        data = planes(value);
        break;
    case 3:
        bits = v->gr[GR_BIT_MASK] & turned;
        data = planes(v->gr[GR_SET_RESET]);
        break;
    default:
        bits = v->gr[GR_BIT_MASK];
        data = turned * 0x01010101u;
        data = (data & ~planes(v->gr[GR_ENABLE_SR])) |
               planes(v->gr[GR_SET_RESET] & v->gr[GR_ENABLE_SR]);
    }
    switch (v->gr[GR_ROTATE] >> 3 & 3) {
    case 1:
        data &= v->latch;
        break;
    case 2:
        data |= v->latch;
        break;
    case 3:
        data ^= v->latch;
        break;
    }
    bits *= 0x01010101u;
    data = (data & bits) | (v->latch & ~bits);
store:
    old = ld32_le(v->mem + at);
    st32_le(v->mem + at, (old & ~mask) | (data & mask));
}

static void store_byte(Vga *v, hwaddr addr, uint8_t value)
{
    unsigned plane;
    hwaddr at;

    if (!map_address(v, &addr)) {
        return;
    }
    if (v->sr[SR_MEMORY] & SR_CHAIN4) {
        plane = addr & 3;
        at = addr;
    } else if (!(v->sr[SR_MEMORY] & SR_SEQUENTIAL) || (v->gr[GR_MODE] & GR_MODE_ODDEVEN)) {
        plane = addr & 1;
        at = (addr & ~UINT64_C(1)) << 1 | plane;
    } else {
        at = addr << 2;
        if (at < v->size) {
            write_planes(v, (uint32_t)at, value);
            memory_region_set_dirty(&v->vram, at, 4);
        }
        return;
    }
    if (at < v->size && (v->sr[SR_PLANE_MASK] & 1u << plane)) {
        v->mem[at] = value;
        memory_region_set_dirty(&v->vram, at, 1);
    }
}

static uint8_t load_byte(Vga *v, hwaddr addr)
{
    unsigned plane = v->gr[GR_READ_PLANE] & 3;
    hwaddr at;

    if (!map_address(v, &addr)) {
        return 0xff;
    }
    if (v->sr[SR_MEMORY] & SR_CHAIN4) {
        return addr < v->size ? v->mem[addr] : 0xff;
    }
    if (v->gr[GR_MODE] & GR_MODE_ODDEVEN) {
        at = (addr & ~UINT64_C(1)) << 1 | (plane & 2) | (addr & 1);
        return at < v->size ? v->mem[at] : 0xff;
    }
    at = addr << 2;
    if (at >= v->size) {
        return 0xff;
    }
    v->latch = ld32_le(v->mem + at);
    if (v->gr[GR_MODE] & GR_MODE_READ1) {
        uint32_t differs = (v->latch ^ planes(v->gr[GR_COMPARE])) & planes(v->gr[GR_DONT_CARE]);
        return (uint8_t) ~(differs | differs >> 8 | differs >> 16 | differs >> 24);
    }
    return (uint8_t)(v->latch >> (8 * plane));
}

static uint64_t legacy_read(void *opaque, hwaddr addr, unsigned size)
{
    return load_byte(opaque, addr);
}

static void legacy_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    store_byte(opaque, addr, (uint8_t)value);
}

static const MemoryRegionOps legacy_ops = {
    .read = legacy_read,
    .write = legacy_write,
    .valid = { .min = 1, .max = 8, .unaligned = true },
    .impl = { .min = 1, .max = 1 },
};

/* --- Ports --- */

static bool port_answers(const Vga *v, uint16_t port)
{
    bool color = v->misc & MISC_COLOR;

    return (port & 0xfff0) == 0x3c0 || (port & 0xfff0) == (color ? 0x3d0 : 0x3b0);
}

static void write_attribute(Vga *v, uint8_t value)
{
    v->ar_data = !v->ar_data;
    if (v->ar_data) { /* the index */
        v->ar_index = value & 0x3f;
    } else if ((v->ar_index & 0x1f) < VGA_ATTRIBUTE) {
        v->ar[v->ar_index & 0x1f] = value & (((v->ar_index & 0x1f) < 16) ? 0x3f : 0xff);
    }
}

static void write_crtc(Vga *v, uint8_t value)
{
    uint8_t n = v->cr_index;

    if (n >= VGA_CRTC) {
        return;
    }
    if (n <= CR_OVERFLOW && (v->cr[CR_PROTECT_REG] & CR_PROTECT)) {
        if (n == CR_OVERFLOW) {
            v->cr[n] = (v->cr[n] & ~CR_OVERFLOW_LC8) | (value & CR_OVERFLOW_LC8);
        }
        return;
    }
    v->cr[n] = value;
}

static void write_palette(Vga *v, uint8_t value)
{
    bool wide = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC;

    v->palette[v->dac_write * 3 + v->dac_part] = wide ? value : value & 0x3f;
    if (++v->dac_part == 3) {
        v->dac_part = 0;
        v->dac_write++;
    }
}

static uint8_t read_palette(Vga *v)
{
    uint8_t value = v->palette[v->dac_read * 3 + v->dac_part];

    if (++v->dac_part == 3) {
        v->dac_part = 0;
        v->dac_read++;
    }
    return value;
}

uint8_t vga_port_read(Vga *v, uint16_t port)
{
    if (!port_answers(v, port)) {
        return 0xff;
    }
    switch (port) {
    case 0x3c0:
        return v->ar_data ? 0 : v->ar_index;
    case 0x3c1:
        return (v->ar_index & 0x1f) < VGA_ATTRIBUTE ? v->ar[v->ar_index & 0x1f] : 0;
    case 0x3c2:
        return 0x10; /* a colour monitor is there */
    case 0x3c4:
        return v->sr_index;
    case 0x3c5:
        return v->sr[v->sr_index];
    case 0x3c6:
        return v->pel_mask;
    case 0x3c7:
        return v->dac_state;
    case 0x3c8:
        return v->dac_write;
    case 0x3c9:
        return read_palette(v);
    case 0x3ca:
        return v->feature;
    case 0x3cc:
        return v->misc;
    case 0x3ce:
        return v->gr_index;
    case 0x3cf:
        return v->gr[v->gr_index];
    case 0x3b4:
    case 0x3d4:
        return v->cr_index;
    case 0x3b5:
    case 0x3d5:
        return v->cr_index < VGA_CRTC ? v->cr[v->cr_index] : 0;
    case 0x3ba:
    case 0x3da:
        /* Who waits for a retrace sees one begin and end. */
        v->ar_data = false;
        v->status1 ^= STATUS1_RETRACE;
        return v->status1;
    default:
        return 0;
    }
}

void vga_port_write(Vga *v, uint16_t port, uint8_t value)
{
    if (!port_answers(v, port)) {
        return;
    }
    switch (port) {
    case 0x3c0:
        write_attribute(v, value);
        break;
    case 0x3c2:
        v->misc = value & ~0x10;
        break;
    case 0x3c4:
        v->sr_index = value & (VGA_SEQUENCER - 1);
        break;
    case 0x3c5:
        v->sr[v->sr_index] = value;
        break;
    case 0x3c6:
        v->pel_mask = value;
        break;
    case 0x3c7:
        v->dac_read = value;
        v->dac_part = 0;
        v->dac_state = 3;
        break;
    case 0x3c8:
        v->dac_write = value;
        v->dac_part = 0;
        v->dac_state = 0;
        break;
    case 0x3c9:
        write_palette(v, value);
        break;
    case 0x3ce:
        v->gr_index = value & (VGA_GRAPHICS - 1);
        break;
    case 0x3cf:
        v->gr[v->gr_index] = value;
        break;
    case 0x3b4:
    case 0x3d4:
        v->cr_index = value;
        break;
    case 0x3b5:
    case 0x3d5:
        write_crtc(v, value);
        break;
    case 0x3ba:
    case 0x3da:
        v->feature = value & 0x10;
        break;
    }
}

static uint64_t ports_read(void *opaque, hwaddr addr, unsigned size)
{
    return vga_port_read(opaque, (uint16_t)(VGA_PORT_BASE + addr));
}

static void ports_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    vga_port_write(opaque, (uint16_t)(VGA_PORT_BASE + addr), (uint8_t)value);
}

static const MemoryRegionOps ports_ops = {
    .read = ports_read,
    .write = ports_write,
    .valid = { .min = 1, .max = 4, .unaligned = true },
    .impl = { .min = 1, .max = 1 },
};

/* --- Linear modes --- */

uint16_t vga_vbe_read(Vga *v, unsigned index)
{
    bool caps = v->vbe[VBE_ENABLE] & VBE_GETCAPS;

    switch (index) {
    case VBE_XRES:
        return caps ? VBE_XRES_MAX : v->vbe[index];
    case VBE_YRES:
        return caps ? VBE_YRES_MAX : v->vbe[index];
    case VBE_BPP:
        return caps ? 32 : v->vbe[index];
    case VBE_MEMORY:
        return (uint16_t)(v->size / BANK_SIZE);
    case VBE_VIRT_HEIGHT: {
        uint32_t line = (uint32_t)v->vbe[VBE_VIRT_WIDTH] * ((v->vbe[VBE_BPP] + 7) / 8);
        return line ? (uint16_t)MIN_OF(v->size / line, UINT16_MAX) : 0;
    }
    default:
        return index < VBE_COUNT ? v->vbe[index] : 0;
    }
}

static void vbe_enable(Vga *v, uint16_t value)
{
    bool was_on = vga_vbe_on(v), wide = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC;

    v->vbe[VBE_ENABLE] = value;
    if ((value & VBE_ENABLED) && !was_on) {
        v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_XRES];
        v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
        v->vbe[VBE_BANK] = 0;
        if (!(value & VBE_NOCLEAR)) {
            memset(v->mem, 0, v->size);
            memory_region_set_dirty(&v->vram, 0, v->size);
        }
    }
    if (wide != !!(value & VBE_8BIT_DAC)) { /* the same colours in other units */
        for (unsigned i = 0; i < sizeof(v->palette); i++) {
            v->palette[i] = (uint8_t)(wide ? v->palette[i] >> 2 : v->palette[i] << 2);
        }
    }
}

void vga_vbe_write(Vga *v, unsigned index, uint16_t value)
{
    switch (index) {
    case VBE_ID:
        if (value >= VBE_ID_MIN && value <= VBE_ID_OURS) {
            v->vbe[index] = value;
        }
        break;
    case VBE_XRES:
        v->vbe[index] = (uint16_t)MIN_OF(value & ~7u, VBE_XRES_MAX);
        break;
    case VBE_YRES:
        v->vbe[index] = (uint16_t)MIN_OF(value, VBE_YRES_MAX);
        break;
    case VBE_BPP:
        v->vbe[index] = value ?: 8;
        break;
    case VBE_ENABLE:
        vbe_enable(v, value);
        break;
    case VBE_BANK:
        v->vbe[index] = (uint16_t)(value & (v->size / BANK_SIZE - 1));
        break;
    case VBE_VIRT_WIDTH:
    case VBE_X_OFFSET:
    case VBE_Y_OFFSET:
        v->vbe[index] = value;
        break;
    }
}

/* A register for the index and one for the data, 16 bits each; data also at the next even port. */
static uint64_t vbe_io_read(void *opaque, hwaddr addr, unsigned size)
{
    Vga *v = opaque;

    return addr == 0 ? v->vbe_index : vga_vbe_read(v, v->vbe_index);
}

static void vbe_io_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Vga *v = opaque;

    if (addr == 0) {
        v->vbe_index = (uint16_t)value;
    } else {
        vga_vbe_write(v, v->vbe_index, (uint16_t)value);
    }
}

static const MemoryRegionOps vbe_ops = {
    .read = vbe_io_read,
    .write = vbe_io_write,
    .valid = { .min = 2, .max = 2, .unaligned = true },
    .impl = { .min = 2, .max = 2, .unaligned = true },
};

/* --- Life --- */

void vga_reset(Vga *v)
{
    v->sr_index = v->gr_index = v->ar_index = v->cr_index = 0;
    memset(v->sr, 0, sizeof(v->sr));
    memset(v->gr, 0, sizeof(v->gr));
    memset(v->ar, 0, sizeof(v->ar));
    memset(v->cr, 0, sizeof(v->cr));
    memset(v->palette, 0, sizeof(v->palette));
    memset(v->vbe, 0, sizeof(v->vbe));
    memset(v->mem, 0, v->size);
    v->ar_data = false;
    v->misc = v->feature = v->status1 = 0;
    v->pel_mask = 0xff;
    v->dac_state = v->dac_part = v->dac_read = v->dac_write = 0;
    v->latch = 0;
    v->vbe_index = 0;
    v->vbe[VBE_ID] = VBE_ID_OURS;
}

bool vga_init(Vga *v, Object *owner, uint32_t size, Error **errp)
{
    if (!memory_region_init_ram(&v->vram, owner, "vga.vram", size, errp)) {
        return false;
    }
    v->size = size;
    v->mem = memory_region_ram_ptr(&v->vram);
    memory_region_init_io(&v->ports, owner, &ports_ops, v, "vga-ports", VGA_PORT_SIZE);
    memory_region_init_io(&v->legacy, owner, &legacy_ops, v, "vga-lowmem", VGA_LEGACY_SIZE);
    memory_region_init_io(&v->vbe_io, owner, &vbe_ops, v, "vbe", 4);
    return true;
}

void vga_finish(Vga *v)
{
    memory_region_finish(&v->vram);
    memory_region_finish(&v->ports);
    memory_region_finish(&v->legacy);
    memory_region_finish(&v->vbe_io);
}

static bool vga_post_load(void *opaque, int version, Error **errp)
{
    Vga *v = opaque;

    if (v->sr_index >= VGA_SEQUENCER || v->gr_index >= VGA_GRAPHICS || v->dac_part > 2 ||
        v->vbe[VBE_BANK] >= v->size / BANK_SIZE) {
        v->sr_index = v->gr_index = v->dac_part = 0;
        v->vbe[VBE_BANK] = 0;
        error_set(errp, "vga: a saved index is out of range");
        return false;
    }
    return true;
}

const VmState vga_vmstate = {
    .name = "vga",
    .version = 1,
    .minimum_version = 1,
    .post_load = vga_post_load,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(sr_index, Vga),  VMSTATE_UINT_ARRAY(sr, Vga),
                                      VMSTATE_UINT8(gr_index, Vga),  VMSTATE_UINT_ARRAY(gr, Vga),
                                      VMSTATE_UINT8(ar_index, Vga),  VMSTATE_UINT_ARRAY(ar, Vga),
                                      VMSTATE_BOOL(ar_data, Vga),    VMSTATE_UINT8(cr_index, Vga),
                                      VMSTATE_UINT_ARRAY(cr, Vga),   VMSTATE_UINT8(misc, Vga),
                                      VMSTATE_UINT8(feature, Vga),   VMSTATE_UINT8(status1, Vga),
                                      VMSTATE_UINT8(pel_mask, Vga),  VMSTATE_UINT8(dac_state, Vga),
                                      VMSTATE_UINT8(dac_part, Vga),  VMSTATE_UINT8(dac_read, Vga),
                                      VMSTATE_UINT8(dac_write, Vga), VMSTATE_BUFFER(palette, Vga),
                                      VMSTATE_UINT32(latch, Vga),    VMSTATE_UINT16(vbe_index, Vga),
                                      VMSTATE_UINT_ARRAY(vbe, Vga),  {} },
};
