/* The picture: text, 2, 4, 16 and 256 colours, and the linear modes. */
#include "devices/display/vga.h"

#define SR_CLOCKING      1
#define SR_8_DOTS        0x01
#define SR_DOUBLE        0x08
#define SR_FONTS         3
#define GR_MODE          5
#define GR_SHIFT_2BIT    0x20
#define GR_SHIFT_256     0x40
#define GR_MISC          6
#define GR_MISC_GRAPHICS 0x01
#define AR_MODE          0x10
#define AR_9TH           0x04
#define AR_BLINK         0x08
#define AR_PAIRS         0x80
#define AR_PLANES        0x12
#define AR_COLOR_SELECT  0x14
#define AR_INDEX_ON      0x20 /* of the index register: the screen is on */
#define CR_WIDTH         0x01
#define CR_OVERFLOW      0x07
#define CR_ROW           0x09
#define CR_ROW_DOUBLE    0x80
#define CR_CURSOR_START  0x0a
#define CR_CURSOR_END    0x0b
#define CR_START         0x0c
#define CR_CURSOR        0x0e
#define CR_HEIGHT        0x12
#define CR_OFFSET        0x13
#define CR_MODE          0x17
#define CR_MODE_NO_CGA   0x01 /* address bit 13 is not the row's lowest bit */
#define CR_MODE_BYTES    0x40 /* else a cell is two bytes, one in each of two planes */
#define FONT_CHAR        32   /* bytes of plane 2 */

/* --- Colours --- */

static uint32_t dac(const Vga *v, unsigned index)
{
    const uint8_t *rgb = &v->palette[(index & v->pel_mask) * 3];
    bool wide = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC;

    if (wide) {
        return (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
    }
    /* Six bits, so that 63 is full. */
    return (uint32_t)(rgb[0] << 2 | rgb[0] >> 4) << 16 |
           (uint32_t)(rgb[1] << 2 | rgb[1] >> 4) << 8 | (uint32_t)(rgb[2] << 2 | rgb[2] >> 4);
}

static uint32_t color16(const Vga *v, unsigned index)
{
    uint8_t select = v->ar[AR_COLOR_SELECT], entry = v->ar[index & 15];

    if (v->ar[AR_MODE] & AR_PAIRS) {
        return dac(v, (select & 15u) << 4 | (entry & 15));
    }
    return dac(v, (select & 12u) << 4 | (entry & 63));
}

/* --- What the CRTC says --- */

static unsigned start_address(const Vga *v)
{
    return (unsigned)v->cr[CR_START] << 8 | v->cr[CR_START + 1];
}

static unsigned scan_lines(const Vga *v)
{
    uint8_t overflow = v->cr[CR_OVERFLOW];

    return (v->cr[CR_HEIGHT] | (overflow & 0x02u) << 7 | (overflow & 0x40u) << 3) + 1u;
}

static uint8_t mem_byte(const Vga *v, uint64_t at)
{
    return v->mem[at & (v->size - 1)];
}

/* --- Text --- */

static uint32_t font_base(unsigned select, unsigned high)
{
    return (select & 3) * 0x4000u + high * 0x2000u;
}

static void draw_character(const Vga *v, DisplayImage *image, unsigned x, unsigned y,
                           unsigned width, unsigned height, uint64_t cell, bool cursor)
{
    uint8_t code = mem_byte(v, cell), attribute = mem_byte(v, cell + 1), fonts = v->sr[SR_FONTS];
    uint32_t font =
        attribute & 8 ? font_base(fonts >> 2, fonts >> 5 & 1) : font_base(fonts, fonts >> 4 & 1);
    bool blink = v->ar[AR_MODE] & AR_BLINK;
    uint32_t front = color16(v, attribute & 15),
             back = color16(v, attribute >> 4 & (blink ? 7 : 15));
    bool ninth = (v->ar[AR_MODE] & AR_9TH) && code >= 0xc0 && code <= 0xdf;

    for (unsigned row = 0; row < height && y + row < image->height; row++) {
        unsigned bits = mem_byte(v, ((uint64_t)font + code * FONT_CHAR + (row & 31)) * 4 + 2);
        bool inverse =
            cursor && row >= (v->cr[CR_CURSOR_START] & 31u) && row <= (v->cr[CR_CURSOR_END] & 31u);
        bits = bits << 1 | (ninth ? bits & 1 : 0);
        for (unsigned dot = 0; dot < width && x + dot < image->width; dot++) {
            bool on = inverse || (bits & 0x100u >> dot);
            image->pixels[(size_t)(y + row) * image->width + x + dot] = on ? front : back;
        }
    }
}

static void render_text(const Vga *v, DisplayImage *image)
{
    unsigned columns = v->cr[CR_WIDTH] + 1u, height = (v->cr[CR_ROW] & 31u) + 1;
    unsigned width = v->sr[SR_CLOCKING] & SR_8_DOTS ? 8 : 9, rows = scan_lines(v) / height;
    unsigned at = start_address(v), step = v->cr[CR_OFFSET] * 2u;
    unsigned cursor = (unsigned)v->cr[CR_CURSOR] << 8 | v->cr[CR_CURSOR + 1];
    bool shown = !(v->cr[CR_CURSOR_START] & 0x20);

    display_image_init(image, columns * width, rows * height);
    for (unsigned row = 0; row < rows; row++) {
        for (unsigned column = 0; column < columns; column++) {
            unsigned cell = at + row * step + column;
            draw_character(v, image, column * width, row * height, width, height,
                           (uint64_t)cell * 4, shown && cell == cursor);
        }
    }
}

/* --- Graphics --- */

static unsigned pixel_index(const Vga *v, uint64_t cell, unsigned dot)
{
    uint64_t at = cell * 4;
    unsigned index = 0;

    if (v->gr[GR_MODE] & GR_SHIFT_2BIT) { /* four pixels in plane 0, then four in plane 1 */
        unsigned shift = 6 - 2 * (dot & 3);
        index = mem_byte(v, at + dot / 4) >> shift & 3;
        return index | (mem_byte(v, at + 2 + dot / 4) >> shift & 3) << 2;
    }
    for (unsigned plane = 0; plane < 4; plane++) {
        index |= (mem_byte(v, at + plane) >> (7 - dot) & 1u) << plane;
    }
    return index;
}

static void render_planes(const Vga *v, DisplayImage *image)
{
    unsigned repeat = ((v->cr[CR_ROW] & 31u) + 1) << !!(v->cr[CR_ROW] & CR_ROW_DOUBLE);
    unsigned columns = v->cr[CR_WIDTH] + 1u, lines = scan_lines(v);
    unsigned start = start_address(v), step = v->cr[CR_OFFSET] * 2u;
    bool cga = !(v->cr[CR_MODE] & CR_MODE_NO_CGA);
    uint64_t bank = v->cr[CR_MODE] & CR_MODE_BYTES ? 0x2000 : 0x1000;

    if (cga) { /* pairs of rows lie in two banks */
        repeat = MAX_OF(repeat / 2, 1);
    }
    display_image_init(image, columns * 8, lines / repeat);
    for (unsigned y = 0; y < image->height; y++) {
        uint64_t row = start + (uint64_t)(cga ? y / 2 : y) * step + (cga && y & 1 ? bank : 0);
        for (unsigned x = 0; x < image->width; x++) {
            unsigned index = pixel_index(v, row + x / 8, x & 7) & v->ar[AR_PLANES];
            image->pixels[(size_t)y * image->width + x] = color16(v, index);
        }
    }
}

static void render_256(const Vga *v, DisplayImage *image)
{
    unsigned repeat = ((v->cr[CR_ROW] & 31u) + 1) << !!(v->cr[CR_ROW] & CR_ROW_DOUBLE);
    uint64_t start = (uint64_t)start_address(v) * 4, step = v->cr[CR_OFFSET] * 8u;

    display_image_init(image, (v->cr[CR_WIDTH] + 1u) * 4, scan_lines(v) / repeat);
    for (unsigned y = 0; y < image->height; y++) {
        for (unsigned x = 0; x < image->width; x++) {
            image->pixels[(size_t)y * image->width + x] = dac(v, mem_byte(v, start + y * step + x));
        }
    }
}

/* --- Linear --- */

static uint32_t linear_pixel(const Vga *v, uint64_t line, unsigned x)
{
    uint64_t at;
    uint16_t word;

    switch (v->vbe[VBE_BPP]) {
    case 4: {
        at = line + x / 8 * 4;
        unsigned index = 0;
        for (unsigned plane = 0; plane < 4; plane++) {
            index |= (mem_byte(v, at + plane) >> (7 - (x & 7)) & 1u) << plane;
        }
        return color16(v, index);
    }
    case 8:
        return dac(v, mem_byte(v, line + x));
    case 15:
        at = line + 2 * (uint64_t)x;
        word = (uint16_t)(mem_byte(v, at) | mem_byte(v, at + 1) << 8);
        return (uint32_t)(word & 0x7c00) << 9 | (uint32_t)(word & 0x3e0) << 6 | (word & 0x1fu) << 3;
    case 16:
        at = line + 2 * (uint64_t)x;
        word = (uint16_t)(mem_byte(v, at) | mem_byte(v, at + 1) << 8);
        return (uint32_t)(word & 0xf800) << 8 | (uint32_t)(word & 0x7e0) << 5 | (word & 0x1fu) << 3;
    case 24:
    case 32:
        at = line + (uint64_t)x * (v->vbe[VBE_BPP] / 8);
        return mem_byte(v, at) | (uint32_t)mem_byte(v, at + 1) << 8 |
               (uint32_t)mem_byte(v, at + 2) << 16;
    default:
        return 0;
    }
}

static void render_linear(const Vga *v, DisplayImage *image)
{
    unsigned bpp = v->vbe[VBE_BPP], width = MAX_OF(v->vbe[VBE_VIRT_WIDTH], v->vbe[VBE_XRES]);
    uint64_t step = (uint64_t)width * (bpp == 15 ? 16 : bpp) / 8;

    display_image_init(image, v->vbe[VBE_XRES], v->vbe[VBE_YRES]);
    for (unsigned y = 0; y < image->height; y++) {
        uint64_t line = (v->vbe[VBE_Y_OFFSET] + (uint64_t)y) * step;
        for (unsigned x = 0; x < image->width; x++) {
            image->pixels[(size_t)y * image->width + x] =
                linear_pixel(v, line, v->vbe[VBE_X_OFFSET] + x);
        }
    }
}

void vga_render(Vga *v, DisplayImage *image)
{
    if (vga_vbe_on(v)) {
        render_linear(v, image);
    } else if (!(v->ar_index & AR_INDEX_ON)) {
        display_image_init(image, 640, 480); /* switched off: black */
    } else if (!(v->gr[GR_MISC] & GR_MISC_GRAPHICS)) {
        render_text(v, image);
    } else if (v->gr[GR_MODE] & GR_SHIFT_256) {
        render_256(v, image);
    } else {
        render_planes(v, image);
    }
}
