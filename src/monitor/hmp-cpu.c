/* Human monitor commands about CPUs and memory: cpu, info registers, x, xp. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "accel/icount.h"
#include "base/bits.h"
#include "cpu/debug.h"
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

typedef struct Dump {
    CpuDump what;
    GString *out;
    bool done;
} Dump;

/* The vCPU's thread, or while it stands: its registers are where they can be read. */
static void dump_on_cpu(Cpu *cpu, void *opaque)
{
    Dump *d = opaque;
    cpu_synchronize_state(cpu);
    d->done = cpu_class_of(cpu)->dump(cpu, d->what, d->out);
}

static bool print_dump(HmpCall *call, Cpu *cpu, CpuDump what, const char *missing, Error **errp)
{
    Dump d = { what, call->out, false };
    if (!cpu) {
        return false;
    }
    cpu_run_on_wait(cpu, dump_on_cpu, &d);
    if (!d.done) {
        error_set(errp, "CPU #%d has no %s", cpu->index, missing);
    }
    return d.done;
}

static bool print_registers(HmpCall *call, Cpu *cpu, Error **errp)
{
    g_string_append_printf(call->out, "\nCPU#%d\n", cpu->index);
    return print_dump(call, cpu, CPU_DUMP_REGISTERS, "registers", errp);
}

bool hmp_info_registers(HmpCall *call, Error **errp)
{
    Cpu *cpu;
    if (!hmp_flag(call, "all")) {
        cpu = selected_cpu(call, errp);
        return cpu && print_registers(call, cpu, errp);
    }
    CPU_FOREACH(cpu)
    {
        if (!print_registers(call, cpu, errp)) {
            return false;
        }
    }
    return true;
}

bool hmp_info_tlb(HmpCall *call, Error **errp)
{
    return print_dump(call, selected_cpu(call, errp), CPU_DUMP_TLB, "page tables", errp);
}

bool hmp_info_mem(HmpCall *call, Error **errp)
{
    return print_dump(call, selected_cpu(call, errp), CPU_DUMP_MEM, "page tables", errp);
}

bool hmp_info_lapic(HmpCall *call, Error **errp)
{
    if (json_object_get(call->args, "apic-id")) {
        int64_t id = hmp_int(call, "apic-id", 0);
        Cpu *cpu;
        CPU_FOREACH(cpu)
        {
            if ((int64_t)cpu_class_of(cpu)->arch_id(cpu) == id) {
                return print_dump(call, cpu, CPU_DUMP_LAPIC, "local APIC", errp);
            }
        }
        error_set(errp, "no CPU has the APIC id %" G_GINT64_FORMAT, id);
        return false;
    }
    return print_dump(call, selected_cpu(call, errp), CPU_DUMP_LAPIC, "local APIC", errp);
}

bool hmp_info_icount(HmpCall *call, Error **errp)
{
    icount_print(call->out);
    return true;
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
