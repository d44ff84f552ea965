/*
 * The VGA with the linear modes of the Bochs display interface: registers, memory access, picture.
 * Embedded in the device that connects it (vga-pci.c). Machine lock held.
 *
 * IBM VGA: "Personal System/2 and Personal Computer BIOS/VGA" technical reference; linear modes:
 * "VBE DISPI" of the Bochs project's documentation of its display adapter.
 *
 * Memory holds the four planes interleaved: byte 4a + p is byte a of plane p. So the picture of
 * 256 colours and the linear modes are simply bytes in a row.
 */
#ifndef DEVICES_DISPLAY_VGA_H
#define DEVICES_DISPLAY_VGA_H

#include "devices/display/display.h"
#include "memory/memory.h"
#include "object/vmstate.h"

#define VGA_PORT_BASE   0x3b0
#define VGA_PORT_SIZE   0x30
#define VGA_LEGACY_BASE 0xa0000
#define VGA_LEGACY_SIZE 0x20000
#define VBE_PORT        0x1ce

#define VGA_SEQUENCER 8
#define VGA_GRAPHICS  16
#define VGA_ATTRIBUTE 21
#define VGA_CRTC      25

/* DISPI registers */
enum {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_MEMORY, /* in 64 KiB; read-only */
    VBE_COUNT,
};
enum {
    VBE_ENABLED = 0x01,
    VBE_GETCAPS = 0x02,
    VBE_8BIT_DAC = 0x20,
    VBE_LFB = 0x40,
    VBE_NOCLEAR = 0x80,
};

typedef struct Vga {
    uint8_t sr_index, sr[VGA_SEQUENCER];
    uint8_t gr_index, gr[VGA_GRAPHICS];
    uint8_t ar_index, ar[VGA_ATTRIBUTE];
    bool ar_data; /* the next write to 3C0h is data */
    uint8_t cr_index, cr[VGA_CRTC];
    uint8_t misc, feature, status1, pel_mask;
    uint8_t dac_state, dac_part, dac_read, dac_write;
    uint8_t palette[256 * 3];
    uint32_t latch;
    uint16_t vbe_index, vbe[VBE_COUNT];

    /* not state */
    MemoryRegion vram; /* RAM */
    uint8_t *mem;
    uint32_t size; /* bytes, a power of two */
    MemoryRegion ports, legacy, vbe_io;
} Vga;

extern const VmState vga_vmstate;

MUST_CHECK bool vga_init(Vga *v, Object *owner, uint32_t size, Error **errp);
void vga_finish(Vga *v); /* harmless without init */
void vga_reset(Vga *v);
uint8_t vga_port_read(Vga *v, uint16_t port);
void vga_port_write(Vga *v, uint16_t port, uint8_t value);
uint16_t vga_vbe_read(Vga *v, unsigned index);
void vga_vbe_write(Vga *v, unsigned index, uint16_t value);
bool vga_vbe_on(const Vga *v);
/* vga-render.c */
void vga_render(Vga *v, DisplayImage *image);

#endif
