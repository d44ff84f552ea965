/*
 * DMTF DSP0134, System Management BIOS Reference Specification 3.4. Structures: 0 firmware, 1
 * system, 2 baseboard (if asked for), 3 chassis, 4 processors, 11 strings (if asked for), 16 to 19
 * memory, 32 boot, 127 end. -smbios type=N,… replaces texts.
 */
#include "machine/smbios.h"

#include <string.h>

#include "base/bits.h"

#define HANDLE(type, n)   ((type) << 8 | (n))
#define HANDLE_NONE       0xfffe
#define STRINGS_MAX       16
#define MEMORY_DEVICE_MAX (16 * GiB)
#define UNKNOWN           0x02 /* in most enumerations */

/* A structure being written: a formatted part, then its texts. */
typedef struct Structure {
    GByteArray *out;
    guint start;
    const char *texts[STRINGS_MAX];
    unsigned count;
} Structure;

static void put(Structure *s, uint64_t value, unsigned size)
{
    uint8_t bytes[8];

    st64_le(bytes, value);
    g_byte_array_append(s->out, bytes, size);
}

static void begin(Structure *s, GByteArray *out, uint8_t type, uint16_t handle)
{
    *s = (Structure){ .out = out, .start = out->len };
    put(s, type, 1);
    put(s, 0, 1);
    put(s, handle, 2);
}

/* The number of a text, which is put behind the formatted part; 0 for none. */
static void put_text(Structure *s, const char *text)
{
    if (!text || !*text) {
        put(s, 0, 1);
        return;
    }
    assert(s->count < STRINGS_MAX);
    s->texts[s->count++] = text;
    put(s, s->count, 1);
}

static void end(Structure *s)
{
    s->out->data[s->start + 1] = s->out->len - s->start;
    for (unsigned i = 0; i < s->count; i++) {
        g_byte_array_append(s->out, (const guint8 *)s->texts[i], strlen(s->texts[i]) + 1);
    }
    put(s, 0, s->count ? 1 : 2);
}

/* --- What the user says: [{"type": 1, "manufacturer": "…"}, …] --- */

static const char *option(const Machine *m, int type, const char *key, const char *fallback)
{
    size_t i;
    json_t *row;

    json_array_foreach(m->smbios, i, row)
    {
        json_t *value = json_object_get(row, key);
        if (json_integer_value(json_object_get(row, "type")) == type && json_is_string(value)) {
            fallback = json_string_value(value);
        }
    }
    return fallback;
}

static bool has_option(const Machine *m, int type)
{
    size_t i;
    json_t *row;

    json_array_foreach(m->smbios, i, row)
    {
        if (json_integer_value(json_object_get(row, "type")) == type) {
            return true;
        }
    }
    return false;
}

static bool parse_uuid(const char *text, uint8_t out[16])
{
    unsigned n = 0;

    for (const char *p = text; *p; p++) {
        if (*p == '-') {
            continue;
        }
        if (n == 32 || g_ascii_xdigit_value(*p) < 0) {
            return false;
        }
        out[n / 2] = (n % 2 ? out[n / 2] : 0) << 4 | g_ascii_xdigit_value(*p);
        n++;
    }
    return n == 32;
}

/* --- Structures --- */

static void add_firmware(GByteArray *out, const Machine *m)
{
    Structure s;

    begin(&s, out, 0, HANDLE(0, 0));
    put_text(&s, option(m, 0, "vendor", "Rhea"));
    put_text(&s, option(m, 0, "version", RHEA_VERSION));
    put(&s, 0xe800, 2); /* segment */
    put_text(&s, option(m, 0, "date", "01/01/2024"));
    put(&s, 0, 1);    /* 64 KiB of ROM */
    put(&s, 0x08, 8); /* characteristics aren't said */
    put(&s, 0, 1);
    put(&s, 0x14, 1);   /* a virtual machine; targeted content distribution */
    put(&s, 0, 2);      /* release */
    put(&s, 0xffff, 2); /* embedded controller: none */
    put(&s, 0, 2);
    end(&s);
}

static bool add_system(GByteArray *out, const Machine *m, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    const char *uuid_text = option(m, 1, "uuid", m->uuid);
    uint8_t uuid[16] = { 0 };
    Structure s;

    if (uuid_text && !parse_uuid(uuid_text, uuid)) {
        error_set(errp, "UUID '%s' is not of the form 01234567-89ab-cdef-0123-456789abcdef",
                  uuid_text);
        return false;
    }
    begin(&s, out, 1, HANDLE(1, 0));
    put_text(&s, option(m, 1, "manufacturer", "Rhea"));
    put_text(&s, option(m, 1, "product", mc->desc));
    put_text(&s, option(m, 1, "version", mc->name));
    put_text(&s, option(m, 1, "serial", NULL));
    /* The first three fields are little-endian here, section 7.2.1. */
    put(&s, ld32_be(uuid), 4);
    put(&s, ld16_be(uuid + 4), 2);
    put(&s, ld16_be(uuid + 6), 2);
    g_byte_array_append(out, uuid + 8, 8);
    put(&s, 0x06, 1); /* woke by the power switch */
    put_text(&s, option(m, 1, "sku", NULL));
    put_text(&s, option(m, 1, "family", NULL));
    end(&s);
    return true;
}

static void add_baseboard(GByteArray *out, const Machine *m)
{
    Structure s;

    if (!has_option(m, 2)) {
        return;
    }
    begin(&s, out, 2, HANDLE(2, 0));
    put_text(&s, option(m, 2, "manufacturer", "Rhea"));
    put_text(&s, option(m, 2, "product", NULL));
    put_text(&s, option(m, 2, "version", NULL));
    put_text(&s, option(m, 2, "serial", NULL));
    put_text(&s, option(m, 2, "asset", NULL));
    put(&s, 0x01, 1); /* hosting board */
    put_text(&s, option(m, 2, "location", NULL));
    put(&s, HANDLE(3, 0), 2);
    put(&s, 0x0a, 1); /* motherboard */
    put(&s, 0, 1);
    end(&s);
}

static void add_chassis(GByteArray *out, const Machine *m)
{
    Structure s;

    begin(&s, out, 3, HANDLE(3, 0));
    put_text(&s, option(m, 3, "manufacturer", "Rhea"));
    put(&s, 0x01, 1); /* other */
    put_text(&s, option(m, 3, "version", machine_class_of(m)->name));
    put_text(&s, option(m, 3, "serial", NULL));
    put_text(&s, option(m, 3, "asset", NULL));
    put(&s, 0x03, 1); /* boot-up, power supply, thermal: safe */
    put(&s, 0x03, 1);
    put(&s, 0x03, 1);
    put(&s, UNKNOWN, 1);
    put(&s, 0, 4);
    put(&s, 0, 1); /* height */
    put(&s, 0, 1); /* power cords */
    put(&s, 0, 2); /* contained elements */
    put_text(&s, option(m, 3, "sku", NULL));
    end(&s);
}

static void add_processor(GByteArray *out, const Machine *m, unsigned socket)
{
    unsigned cores = m->smp.dies * m->smp.clusters * m->smp.cores, threads = cores * m->smp.threads;
    g_autofree char *name = g_strdup_printf("CPU %u", socket);
    Structure s;

    begin(&s, out, 4, HANDLE(4, socket));
    put_text(&s, name);
    put(&s, 0x03, 1); /* central processor */
    put(&s, 0x01, 1); /* family: other */
    put_text(&s, option(m, 4, "manufacturer", "Rhea"));
    put(&s, 0, 8); /* the id is CPUID's to say */
    put_text(&s, option(m, 4, "version", machine_class_of(m)->name));
    put(&s, 0, 1);    /* voltage */
    put(&s, 0, 2);    /* external clock */
    put(&s, 2000, 2); /* MHz */
    put(&s, 2000, 2);
    put(&s, 0x41, 1); /* populated, enabled */
    put(&s, 0x01, 1); /* upgrade: other */
    put(&s, 0xffff, 2);
    put(&s, 0xffff, 2);
    put(&s, 0xffff, 2); /* caches: not described */
    put_text(&s, option(m, 4, "serial", NULL));
    put_text(&s, option(m, 4, "asset", NULL));
    put_text(&s, option(m, 4, "part", NULL));
    put(&s, MIN_OF(cores, 0xffu), 1);
    put(&s, MIN_OF(cores, 0xffu), 1);
    put(&s, MIN_OF(threads, 0xffu), 1);
    put(&s, 0x02, 2); /* characteristics unknown */
    put(&s, 0x01, 2); /* family 2: other */
    put(&s, cores, 2);
    put(&s, cores, 2);
    put(&s, threads, 2);
    end(&s);
}

static void add_strings(GByteArray *out, const Machine *m)
{
    const char *value = option(m, 11, "value", NULL);
    Structure s;

    if (!value) {
        return;
    }
    begin(&s, out, 11, HANDLE(11, 0));
    put_text(&s, value);
    s.out->data[out->len - 1] = 1; /* the number of texts, which is also the text's number */
    end(&s);
}

static void add_memory(GByteArray *out, const Machine *m, uint64_t lowmem, uint64_t highmem)
{
    unsigned devices = MAX_OF((m->ram_size + MEMORY_DEVICE_MAX - 1) / MEMORY_DEVICE_MAX, 1u);
    const uint64_t areas[][2] = { { 0, lowmem }, { 4 * GiB, highmem } };
    Structure s;

    begin(&s, out, 16, HANDLE(16, 0));
    put(&s, 0x01, 1); /* location: other */
    put(&s, 0x03, 1); /* system memory */
    put(&s, 0x06, 1); /* multi-bit ECC */
    put(&s, 0x80000000u, 4);
    put(&s, HANDLE_NONE, 2);
    put(&s, devices, 2);
    put(&s, m->ram_size, 8);
    end(&s);

    for (unsigned i = 0; i < devices; i++) {
        g_autofree char *name = g_strdup_printf("DIMM %u", i);
        uint64_t size = MIN_OF(m->ram_size - i * MEMORY_DEVICE_MAX, MEMORY_DEVICE_MAX) / MiB;
        begin(&s, out, 17, HANDLE(17, i));
        put(&s, HANDLE(16, 0), 2);
        put(&s, HANDLE_NONE, 2);
        put(&s, 0xffff, 2); /* widths: unknown */
        put(&s, 0xffff, 2);
        put(&s, MIN_OF(size, 0x7fffu), 2); /* MiB; 0x7fff: see the extended size */
        put(&s, 0x09, 1);                  /* DIMM */
        put(&s, 0, 1);
        put_text(&s, name);
        put_text(&s, NULL);
        put(&s, 0x07, 1); /* RAM */
        put(&s, 0x02, 2);
        put(&s, 0, 2); /* speed */
        put_text(&s, option(m, 17, "manufacturer", "Rhea"));
        put_text(&s, option(m, 17, "serial", NULL));
        put_text(&s, option(m, 17, "asset", NULL));
        put_text(&s, option(m, 17, "part", NULL));
        put(&s, 0, 1);
        put(&s, size >= 0x7fff ? size : 0, 4);
        put(&s, 0, 2);
        put(&s, 0, 6); /* voltages */
        end(&s);
    }

    for (unsigned i = 0; i < ARRAY_LEN(areas); i++) {
        if (!areas[i][1]) {
            continue;
        }
        begin(&s, out, 19, HANDLE(19, i));
        put(&s, UINT32_MAX, 4); /* see the 64-bit addresses */
        put(&s, UINT32_MAX, 4);
        put(&s, HANDLE(16, 0), 2);
        put(&s, 1, 1);
        put(&s, areas[i][0], 8);
        put(&s, areas[i][0] + areas[i][1] - 1, 8);
        end(&s);
    }
}

static void add_boot_and_end(GByteArray *out)
{
    Structure s;

    begin(&s, out, 32, HANDLE(32, 0));
    put(&s, 0, 7); /* six reserved bytes; no error */
    end(&s);
    begin(&s, out, 127, HANDLE(127, 0));
    end(&s);
}

GBytes *smbios_build(Machine *m, uint64_t lowmem, uint64_t highmem, Error **errp)
{
    GByteArray *out = g_byte_array_new();

    add_firmware(out, m);
    if (!add_system(out, m, errp)) {
        g_byte_array_unref(out);
        return NULL;
    }
    add_baseboard(out, m);
    add_chassis(out, m);
    for (unsigned i = 0; i < m->smp.sockets; i++) {
        add_processor(out, m, i);
    }
    add_strings(out, m);
    add_memory(out, m, lowmem, highmem);
    add_boot_and_end(out);
    return g_byte_array_free_to_bytes(out);
}

void smbios_make_anchor(uint8_t anchor[SMBIOS_ANCHOR_SIZE], uint64_t tables, uint32_t size)
{
    uint8_t sum = 0;

    memset(anchor, 0, SMBIOS_ANCHOR_SIZE);
    memcpy(anchor, "_SM3_", 5);
    anchor[6] = SMBIOS_ANCHOR_SIZE;
    anchor[7] = 3; /* version 3.4 */
    anchor[8] = 4;
    anchor[10] = 1; /* entry point revision */
    st32_le(anchor + 12, size);
    st64_le(anchor + 16, tables);
    for (unsigned i = 0; i < SMBIOS_ANCHOR_SIZE; i++) {
        sum += anchor[i];
    }
    anchor[5] = -sum;
}
