/* Human monitor commands about CPUs and memory: cpu, info registers, x, xp. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cpu/cpu.h"
#include "memory/memory.h"
#include "monitor/hmp-cpu.h"
#include "monitor/monitor-internal.h"

#define DUMP_MAX (64 * 1024) /* units of one x or xp */
#define LINE     16          /* bytes */

static Cpu *selected_cpu(HmpCall *call, Error **errp)
{
    if (call->cpu_index < 0 || (unsigned)call->cpu_index >= cpu_count()) {
        error_set(errp, "there is no CPU #%d", call->cpu_index);
        return NULL;
    }
    return cpu_by_index(call->cpu_index);
}

bool hmp_cpu(HmpCall *call, Error **errp)
{
    int64_t index = hmp_int(call, "index", 0);
    if (index < 0 || index >= cpu_count()) {
        error_set(errp, "there is no CPU #%" G_GINT64_FORMAT, index);
        return false;
    }
    if (call->mon) {
        call->mon->cpu_index = (int)index;
    }
    return true;
}

static void print_registers(Cpu *cpu, GString *out)
{
    g_string_append_printf(out, "\nCPU#%d\n", cpu->index);
    cpu_class_of(cpu)->dump(cpu, out);
}

bool hmp_info_registers(HmpCall *call, Error **errp)
{
    Cpu *cpu;
    if (hmp_flag(call, "all")) {
        CPU_FOREACH(cpu)
        {
            print_registers(cpu, call->out);
        }
        return true;
    }
    cpu = selected_cpu(call, errp);
    if (cpu) {
        print_registers(cpu, call->out);
    }
    return cpu != NULL;
}

/* "/16xb": count, format (x d u o c), unit (b h w g). */
typedef struct DumpFormat {
    unsigned count;
    char format;
    unsigned size; /* bytes */
} DumpFormat;

static bool parse_format(const char *text, DumpFormat *f, Error **errp)
{
    const char *whole = text;
    *f = (DumpFormat){ 1, 'x', 4 };
    if (!text) {
        return true;
    }
    text++; /* '/' */
    if (isdigit((unsigned char)*text)) {
        unsigned long count = strtoul(text, (char **)&text, 10);
        f->count = count > DUMP_MAX ? DUMP_MAX + 1 : (unsigned)count;
    }
    for (; *text; text++) {
        static const struct {
            char letter;
            unsigned size;
        } units[] = { { 'b', 1 }, { 'h', 2 }, { 'w', 4 }, { 'g', 8 } };
        bool unit = false;
        for (size_t i = 0; i < ARRAY_LEN(units); i++) {
            if (*text == units[i].letter) {
                f->size = units[i].size;
                unit = true;
            }
        }
        if (!unit && !strchr("xduoc", *text)) {
            break;
        }
        f->format = unit ? f->format : *text;
        f->size = *text == 'c' ? 1 : f->size;
    }
    if (*text || f->count > DUMP_MAX) {
        error_set(errp, "format '%s': /COUNT, one of x d u o c, and one of b h w g are expected",
                  whole);
        return false;
    }
    return true;
}

static void print_unit(GString *out, const DumpFormat *f, uint64_t v)
{
    int64_t sign = (int64_t)(v << (64 - 8 * f->size)) >> (64 - 8 * f->size);
    switch (f->format) {
    case 'd':
        g_string_append_printf(out, " %" G_GINT64_FORMAT, sign);
        break;
    case 'u':
        g_string_append_printf(out, " %" G_GUINT64_FORMAT, v);
        break;
    case 'o':
        g_string_append_printf(out, " 0%" G_GINT64_MODIFIER "o", v);
        break;
    case 'c':
        g_string_append_printf(out, " '%c'", g_ascii_isprint(v) ? (char)v : '.');
        break;
    default:
        g_string_append_printf(out, " 0x%0*" G_GINT64_MODIFIER "x", (int)f->size * 2, v);
        break;
    }
}

/* cpu NULL: physical addresses. */
static bool dump(HmpCall *call, Cpu *cpu, Error **errp)
{
    DumpFormat f;
    uint64_t addr = hmp_int(call, "addr", 0);
    if (!parse_format(hmp_str(call, "format"), &f, errp)) {
        return false;
    }
    for (unsigned done = 0; done < f.count;) {
        uint8_t line[LINE];
        unsigned units = MIN_OF(f.count - done, LINE / f.size), len = units * f.size;
        g_string_append_printf(call->out, "%016" G_GINT64_MODIFIER "x:", addr);
        if (cpu ? !cpu_debug_read(cpu, addr, line, len)
                : address_space_read(address_space_memory(), addr, MEMTXATTRS_UNSPECIFIED, line,
                                     len) != MEMTX_OK) {
            g_string_append(call->out, " cannot access memory\n");
            return true;
        }
        for (unsigned i = 0; i < units; i++) {
            print_unit(call->out, &f, ldn_le(line + i * f.size, f.size));
        }
        g_string_append_c(call->out, '\n');
        addr += len;
        done += units;
    }
    return true;
}

bool hmp_x(HmpCall *call, Error **errp)
{
    Cpu *cpu = selected_cpu(call, errp);
    return cpu && dump(call, cpu, errp);
}

bool hmp_xp(HmpCall *call, Error **errp)
{
    return dump(call, NULL, errp);
}
