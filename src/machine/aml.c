#include "machine/aml.h"

#include <string.h>

#include "base/bits.h"

/* Encodings, ACPI 6.4 section 20.3. */
#define OP_ZERO         0x00
#define OP_ONE          0x01
#define OP_NAME         0x08
#define OP_BYTE         0x0a
#define OP_WORD         0x0b
#define OP_DWORD        0x0c
#define OP_STRING       0x0d
#define OP_QWORD        0x0e
#define OP_SCOPE        0x10
#define OP_BUFFER       0x11
#define OP_PACKAGE      0x12
#define OP_METHOD       0x14
#define OP_DUAL_NAME    0x2e
#define OP_MULTI_NAME   0x2f
#define OP_EXT          0x5b
#define OP_LOCAL0       0x60
#define OP_ARG0         0x68
#define OP_CREATE_DWORD 0x8a
#define OP_IF           0xa0
#define OP_ELSE         0xa1
#define OP_WHILE        0xa2
#define EXT_MUTEX       0x01
#define EXT_ACQUIRE     0x23
#define EXT_RELEASE     0x27
#define EXT_REGION      0x80
#define EXT_FIELD       0x81
#define EXT_DEVICE      0x82

#define METHOD_SERIALIZED 0x08
#define FIELD_PRESERVE    0x00
#define FIELD_LOCK        0x10
#define ACQUIRE_FOREVER   0xffff
#define END_TAG           0x79

static void byte(Aml *a, uint8_t v)
{
    g_byte_array_append(a->bytes, &v, 1);
}

static void little(Aml *a, uint64_t v, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        byte(a, v >> (8 * i));
    }
}

void aml_init(Aml *a)
{
    memset(a, 0, sizeof(*a));
    a->bytes = g_byte_array_new();
}

void aml_finish(Aml *a)
{
    assert(a->depth == 0);
    g_byte_array_unref(a->bytes);
}

/* --- Names --- */

static const char *segment(Aml *a, const char *p)
{
    unsigned n = 0;

    for (; *p && *p != '.'; p++, n++) {
        assert(n < 4);
        byte(a, *p);
    }
    for (; n < 4; n++) {
        byte(a, '_');
    }
    return *p == '.' ? p + 1 : p;
}

static void name_string(Aml *a, const char *name)
{
    unsigned segments = 1;

    while (*name == '\\' || *name == '^') {
        byte(a, *name++);
    }
    if (!*name) {
        byte(a, 0); /* the root, or a parent, itself */
        return;
    }
    for (const char *p = name; *p; p++) {
        segments += *p == '.';
    }
    if (segments == 2) {
        byte(a, OP_DUAL_NAME);
    } else if (segments > 2) {
        byte(a, OP_MULTI_NAME);
        byte(a, segments);
    }
    while (*name) {
        name = segment(a, name);
    }
}

/* --- Blocks --- */

static void begin(Aml *a)
{
    assert(a->depth < AML_DEPTH);
    a->open[a->depth].start = a->bytes->len;
    a->open[a->depth].count = 0;
    a->open[a->depth].crs = false;
    a->depth++;
}

static void insert(Aml *a, guint at, const uint8_t *data, unsigned len)
{
    guint tail = a->bytes->len - at;

    g_byte_array_set_size(a->bytes, a->bytes->len + len);
    memmove(a->bytes->data + at + len, a->bytes->data + at, tail);
    memcpy(a->bytes->data + at, data, len);
}

/* PkgLength counts itself: section 20.2.4. */
static unsigned package_length(uint8_t *out, guint content)
{
    unsigned n = content + 1 < 0x40 ? 1 : content + 2 < 0x1000 ? 2 : content + 3 < 0x100000 ? 3 : 4;
    guint total = content + n;

    if (n == 1) {
        out[0] = total;
        return 1;
    }
    out[0] = (n - 1) << 6 | (total & 0x0f);
    for (unsigned i = 1; i < n; i++) {
        out[i] = total >> (4 + 8 * (i - 1));
    }
    return n;
}

/* A resource template is a buffer: its size and an end tag are known only now. */
static void close_resources(Aml *a, guint start)
{
    uint8_t size[3] = { OP_WORD };

    byte(a, END_TAG);
    byte(a, 0); /* checksum 0: not checked */
    st16_le(size + 1, a->bytes->len - start);
    insert(a, start, size, sizeof(size));
}

void aml_end(Aml *a)
{
    uint8_t length[4];
    guint start;

    assert(a->depth > 0);
    a->depth--;
    start = a->open[a->depth].start;
    if (a->open[a->depth].crs) {
        close_resources(a, start);
    }
    insert(a, start, length, package_length(length, a->bytes->len - start));
}

static void named_block(Aml *a, uint8_t op, const char *name)
{
    byte(a, op);
    begin(a);
    name_string(a, name);
}

void aml_scope(Aml *a, const char *name)
{
    named_block(a, OP_SCOPE, name);
}

void aml_device(Aml *a, const char *name)
{
    byte(a, OP_EXT);
    named_block(a, EXT_DEVICE, name);
}

void aml_method(Aml *a, const char *name, unsigned args, bool serialized)
{
    named_block(a, OP_METHOD, name);
    byte(a, args | (serialized ? METHOD_SERIALIZED : 0));
}

void aml_if(Aml *a)
{
    byte(a, OP_IF);
    begin(a);
}

void aml_else(Aml *a)
{
    byte(a, OP_ELSE);
    begin(a);
}

void aml_while(Aml *a)
{
    byte(a, OP_WHILE);
    begin(a);
}

void aml_package(Aml *a, unsigned elements)
{
    byte(a, OP_PACKAGE);
    begin(a);
    byte(a, elements);
}

void aml_field(Aml *a, const char *region, AmlAccess access)
{
    byte(a, OP_EXT);
    named_block(a, EXT_FIELD, region);
    byte(a, access | FIELD_PRESERVE);
}

static void field_length(Aml *a, unsigned bits)
{
    /* As PkgLength, but it doesn't count itself. */
    if (bits < 0x40) {
        byte(a, bits);
    } else {
        assert(bits < 0x1000);
        byte(a, 0x40 | (bits & 0x0f));
        byte(a, bits >> 4);
    }
}

void aml_named_field(Aml *a, const char *name, unsigned bits)
{
    segment(a, name);
    field_length(a, bits);
}

void aml_reserved_field(Aml *a, unsigned bits)
{
    byte(a, 0);
    field_length(a, bits);
}

/* --- Declarations --- */

void aml_name(Aml *a, const char *name)
{
    byte(a, OP_NAME);
    name_string(a, name);
}

void aml_operation_region(Aml *a, const char *name, AmlSpace space, uint64_t offset, uint64_t len)
{
    byte(a, OP_EXT);
    byte(a, EXT_REGION);
    name_string(a, name);
    byte(a, space);
    aml_int(a, offset);
    aml_int(a, len);
}

void aml_create_dword_field(Aml *a, const char *buffer, unsigned offset, const char *name)
{
    byte(a, OP_CREATE_DWORD);
    if (!strncmp(buffer, "Arg", 3)) {
        aml_arg(a, buffer[3] - '0');
    } else {
        name_string(a, buffer);
    }
    aml_int(a, offset);
    name_string(a, name);
}

void aml_mutex(Aml *a, const char *name, unsigned sync_level)
{
    byte(a, OP_EXT);
    byte(a, EXT_MUTEX);
    name_string(a, name);
    byte(a, sync_level);
}

/* --- Values --- */

void aml_int(Aml *a, uint64_t v)
{
    if (v <= 1) {
        byte(a, v ? OP_ONE : OP_ZERO);
    } else if (v <= UINT8_MAX) {
        byte(a, OP_BYTE);
        little(a, v, 1);
    } else if (v <= UINT16_MAX) {
        byte(a, OP_WORD);
        little(a, v, 2);
    } else if (v <= UINT32_MAX) {
        byte(a, OP_DWORD);
        little(a, v, 4);
    } else {
        byte(a, OP_QWORD);
        little(a, v, 8);
    }
}

void aml_string(Aml *a, const char *text)
{
    byte(a, OP_STRING);
    g_byte_array_append(a->bytes, (const guint8 *)text, strlen(text) + 1);
}

/* "PNP0A03": three letters of five bits, four hexadecimal digits, big-endian. */
void aml_eisa_id(Aml *a, const char *id)
{
    uint32_t v = (id[0] - 0x40) << 26 | (id[1] - 0x40) << 21 | (id[2] - 0x40) << 16;

    v |= g_ascii_strtoull(id + 3, NULL, 16);
    byte(a, OP_DWORD);
    little(a, htobe32(v), 4);
}

void aml_buffer(Aml *a, const void *data, unsigned len)
{
    byte(a, OP_BUFFER);
    begin(a);
    aml_int(a, len);
    g_byte_array_append(a->bytes, data, len);
    aml_end(a);
}

void aml_uuid(Aml *a, const char *uuid)
{
    /* Positions of the text's digit pairs, in the order of the bytes. */
    static const uint8_t order[16] = { 6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34 };
    uint8_t bytes[16];

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] =
            g_ascii_xdigit_value(uuid[order[i]]) << 4 | g_ascii_xdigit_value(uuid[order[i] + 1]);
    }
    aml_buffer(a, bytes, sizeof(bytes));
}

void aml_path(Aml *a, const char *name)
{
    name_string(a, name);
}

void aml_arg(Aml *a, unsigned n)
{
    byte(a, OP_ARG0 + n);
}

void aml_local(Aml *a, unsigned n)
{
    byte(a, OP_LOCAL0 + n);
}

void aml_op(Aml *a, AmlOp op)
{
    byte(a, op);
}

void aml_no_target(Aml *a)
{
    byte(a, 0);
}

void aml_acquire(Aml *a, const char *mutex)
{
    byte(a, OP_EXT);
    byte(a, EXT_ACQUIRE);
    name_string(a, mutex);
    little(a, ACQUIRE_FOREVER, 2);
}

void aml_release(Aml *a, const char *mutex)
{
    byte(a, OP_EXT);
    byte(a, EXT_RELEASE);
    name_string(a, mutex);
}

/* --- Resources --- */

/* Small items: tag with length; large items: tag, length of 16 bits. */
#define RES_IO        0x47
#define RES_IRQ       0x22
#define RES_MEMORY32  0x86
#define RES_DWORD     0x87
#define RES_WORD      0x88
#define RES_INTERRUPT 0x89
#define RES_QWORD     0x8a

#define WINDOW_MIN_FIXED 0x04
#define WINDOW_MAX_FIXED 0x08
#define MEMORY_WRITABLE  0x01
#define MEMORY_CACHEABLE 0x02
#define IO_ENTIRE_RANGE  0x03

void aml_resources(Aml *a)
{
    byte(a, OP_BUFFER);
    begin(a);
    a->open[a->depth - 1].crs = true;
}

void aml_io(Aml *a, uint16_t base, uint8_t align, uint8_t len)
{
    byte(a, RES_IO);
    byte(a, 1); /* decodes 16 bits */
    little(a, base, 2);
    little(a, base, 2);
    byte(a, align);
    byte(a, len);
}

void aml_irq_no_flags(Aml *a, unsigned irq)
{
    byte(a, RES_IRQ);
    little(a, 1u << irq, 2);
}

void aml_interrupt(Aml *a, const uint32_t *irqs, unsigned count)
{
    byte(a, RES_INTERRUPT);
    little(a, 2 + 4 * count, 2);
    byte(a, 0x09); /* consumer, level, active high, shared */
    byte(a, count);
    for (unsigned i = 0; i < count; i++) {
        little(a, irqs[i], 4);
    }
}

void aml_memory32_fixed(Aml *a, bool writable, uint32_t base, uint32_t len)
{
    byte(a, RES_MEMORY32);
    little(a, 9, 2);
    byte(a, writable);
    little(a, base, 4);
    little(a, len, 4);
}

void aml_window(Aml *a, AmlWindow kind, bool cacheable, uint64_t first, uint64_t last)
{
    unsigned size = last > UINT32_MAX ? 8 : kind == AML_WINDOW_MEMORY ? 4 : 2;

    byte(a, size == 8 ? RES_QWORD : size == 4 ? RES_DWORD : RES_WORD);
    little(a, 3 + 5 * size, 2);
    byte(a, kind);
    byte(a, WINDOW_MIN_FIXED | WINDOW_MAX_FIXED);
    byte(a, kind == AML_WINDOW_MEMORY ? MEMORY_WRITABLE | (cacheable ? MEMORY_CACHEABLE : 0)
            : kind == AML_WINDOW_IO   ? IO_ENTIRE_RANGE
                                      : 0);
    little(a, 0, size); /* granularity */
    little(a, first, size);
    little(a, last, size);
    little(a, 0, size); /* translation */
    little(a, last - first + 1, size);
}
