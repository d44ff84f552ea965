#include "machine/acpi-blob.h"

#include <string.h>

#include "base/bits.h"

#define HEADER_SIZE     36
#define HEADER_LENGTH   4
#define HEADER_CHECKSUM 9
#define OEM_ID          "RHEA  "
#define OEM_TABLE_ID    "RHEAPC  "
#define CREATOR_ID      "RHEA"

/* RSDP, section 5.2.5.3. */
#define RSDP_SIZE              36
#define RSDP_V1_SIZE           20
#define RSDP_CHECKSUM          8
#define RSDP_XSDT              24
#define RSDP_EXTENDED_CHECKSUM 32

/* Loader commands: 128 bytes each (fw_cfg's table loader). */
#define LOADER_ENTRY        128
#define LOADER_NAME         56
#define LOADER_ALLOCATE     1
#define LOADER_ADD_POINTER  2
#define LOADER_ADD_CHECKSUM 3
#define LOADER_ZONE_HIGH    1
#define LOADER_ZONE_FSEG    2

void acpi_blob_init(AcpiBlob *b)
{
    b->tables = g_byte_array_new();
    b->rsdp = g_byte_array_new();
    b->pointers = g_array_new(false, false, sizeof(AcpiPointer));
    b->checksums = g_array_new(false, false, sizeof(AcpiChecksum));
}

void acpi_blob_finish(AcpiBlob *b)
{
    g_byte_array_unref(b->tables);
    g_byte_array_unref(b->rsdp);
    g_array_unref(b->pointers);
    g_array_unref(b->checksums);
}

void acpi_put(AcpiBlob *b, uint64_t value, unsigned size)
{
    uint8_t bytes[8];

    st64_le(bytes, value);
    g_byte_array_append(b->tables, bytes, size);
}

void acpi_put_zeroes(AcpiBlob *b, unsigned size)
{
    for (; size; size--) {
        acpi_put(b, 0, 1);
    }
}

static void put_text(AcpiBlob *b, const char *text)
{
    g_byte_array_append(b->tables, (const guint8 *)text, strlen(text));
}

uint32_t acpi_table_begin(AcpiBlob *b, const char *signature, uint8_t revision)
{
    uint32_t start;

    /* The FACS must be aligned; so is all else. */
    while (b->tables->len % 64) {
        acpi_put(b, 0, 1);
    }
    start = b->tables->len;
    put_text(b, signature);
    acpi_put(b, 0, 4);
    acpi_put(b, revision, 1);
    acpi_put(b, 0, 1);
    put_text(b, OEM_ID);
    put_text(b, OEM_TABLE_ID);
    acpi_put(b, 1, 4);
    put_text(b, CREATOR_ID);
    acpi_put(b, 1, 4);
    return start;
}

void acpi_table_end(AcpiBlob *b, uint32_t start)
{
    AcpiChecksum c = {
        .offset = start + HEADER_CHECKSUM,
        .start = start,
        .length = b->tables->len - start,
    };

    st32_le(b->tables->data + start + HEADER_LENGTH, c.length);
    g_array_append_val(b->checksums, c);
}

void acpi_put_address(AcpiBlob *b, uint8_t space, uint8_t bits, uint8_t access, uint64_t address)
{
    acpi_put(b, space, 1);
    acpi_put(b, bits, 1);
    acpi_put(b, 0, 1);
    acpi_put(b, access, 1);
    acpi_put(b, address, 8);
}

void acpi_put_pointer(AcpiBlob *b, uint32_t target, unsigned size)
{
    AcpiPointer p = { .offset = b->tables->len, .size = size };

    g_array_append_val(b->pointers, p);
    acpi_put(b, target, size);
}

void acpi_make_rsdp(AcpiBlob *b, uint32_t xsdt)
{
    uint8_t r[RSDP_SIZE] = "RSD PTR ";
    AcpiPointer p = { .in_rsdp = true, .offset = RSDP_XSDT, .size = 8 };
    AcpiChecksum v1 = { .in_rsdp = true, .offset = RSDP_CHECKSUM, .length = RSDP_V1_SIZE };
    AcpiChecksum all = { .in_rsdp = true, .offset = RSDP_EXTENDED_CHECKSUM, .length = RSDP_SIZE };

    memcpy(r + 9, OEM_ID, 6);
    r[15] = 2; /* revision */
    st32_le(r + 20, RSDP_SIZE);
    st64_le(r + RSDP_XSDT, xsdt);
    g_byte_array_set_size(b->rsdp, 0);
    g_byte_array_append(b->rsdp, r, sizeof(r));
    g_array_append_val(b->pointers, p);
    g_array_append_val(b->checksums, v1);
    g_array_append_val(b->checksums, all);
}

void acpi_blob_link(AcpiBlob *b, uint64_t base)
{
    for (guint i = 0; i < b->pointers->len; i++) {
        const AcpiPointer *p = &g_array_index(b->pointers, AcpiPointer, i);
        uint8_t *field = (p->in_rsdp ? b->rsdp : b->tables)->data + p->offset;
        stn_le(field, p->size, ldn_le(field, p->size) + base);
    }
    for (guint i = 0; i < b->checksums->len; i++) {
        const AcpiChecksum *c = &g_array_index(b->checksums, AcpiChecksum, i);
        uint8_t *data = (c->in_rsdp ? b->rsdp : b->tables)->data, sum = 0;
        data[c->offset] = 0;
        for (uint32_t j = 0; j < c->length; j++) {
            sum += data[c->start + j];
        }
        data[c->offset] = -sum;
    }
}

/* --- For firmware --- */

static uint8_t *add_command(GByteArray *out, uint32_t command)
{
    guint at = out->len;

    g_byte_array_set_size(out, at + LOADER_ENTRY);
    memset(out->data + at, 0, LOADER_ENTRY);
    st32_le(out->data + at, command);
    return out->data + at + 4;
}

static void add_allocate(GByteArray *out, const char *file, uint32_t align, uint8_t zone)
{
    uint8_t *p = add_command(out, LOADER_ALLOCATE);

    strcpy((char *)p, file);
    st32_le(p + LOADER_NAME, align);
    p[LOADER_NAME + 4] = zone;
}

static const char *file_of(bool in_rsdp)
{
    return in_rsdp ? ACPI_FILE_RSDP : ACPI_FILE_TABLES;
}

GBytes *acpi_blob_loader(const AcpiBlob *b)
{
    GByteArray *out = g_byte_array_new();

    add_allocate(out, ACPI_FILE_TABLES, 64, LOADER_ZONE_HIGH);
    add_allocate(out, ACPI_FILE_RSDP, 16, LOADER_ZONE_FSEG);
    for (guint i = 0; i < b->pointers->len; i++) {
        const AcpiPointer *p = &g_array_index(b->pointers, AcpiPointer, i);
        uint8_t *c = add_command(out, LOADER_ADD_POINTER);
        strcpy((char *)c, file_of(p->in_rsdp));
        strcpy((char *)c + LOADER_NAME, ACPI_FILE_TABLES);
        st32_le(c + 2 * LOADER_NAME, p->offset);
        c[2 * LOADER_NAME + 4] = p->size;
    }
    for (guint i = 0; i < b->checksums->len; i++) {
        const AcpiChecksum *s = &g_array_index(b->checksums, AcpiChecksum, i);
        uint8_t *c = add_command(out, LOADER_ADD_CHECKSUM);
        strcpy((char *)c, file_of(s->in_rsdp));
        st32_le(c + LOADER_NAME, s->offset);
        st32_le(c + LOADER_NAME + 4, s->start);
        st32_le(c + LOADER_NAME + 8, s->length);
    }
    return g_byte_array_free_to_bytes(out);
}
