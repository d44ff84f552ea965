/* `info registers`, in the layout that people and tools of the field know. */
#include "cpu/x86/dump.h"

#include <inttypes.h>

#include "base/bits.h"

static const char *const segment_names[] = { "ES", "CS", "SS", "DS", "FS", "GS" };

/* "CS64 [-R-]", "DS   [-WA]", "TSS64-busy" */
static void append_segment_type(GString *out, const X86Segment *seg, bool long_mode)
{
    unsigned type = seg->access & X86_SEG_TYPE;
    g_string_append_printf(out, " DPL=%u ", seg->access >> 5 & 3);
    if (seg->access & X86_SEG_S) {
        if (type & 8) {
            g_string_append(out, seg->access & X86_SEG_L    ? "CS64"
                                 : seg->access & X86_SEG_DB ? "CS32"
                                                            : "CS16");
            g_string_append_printf(out, " [%c%c", type & 4 ? 'C' : '-', type & 2 ? 'R' : '-');
        } else {
            g_string_append(out, seg->access & X86_SEG_DB || long_mode ? "DS  " : "DS16");
            g_string_append_printf(out, " [%c%c", type & 4 ? 'E' : '-', type & 2 ? 'W' : '-');
        }
        g_string_append_printf(out, "%c]", type & 1 ? 'A' : '-');
        return;
    }
    static const char *const legacy[16] = {
        "Reserved",   "TSS16-avl",  "LDT",       "TSS16-busy", "CallGate16", "TaskGate",
        "IntGate16",  "TrapGate16", "Reserved",  "TSS32-avl",  "Reserved",   "TSS32-busy",
        "CallGate32", "Reserved",   "IntGate32", "TrapGate32",
    };
    static const char *const long_names[16] = {
        [2] = "LDT",         [9] = "TSS64-avl",  [11] = "TSS64-busy",
        [12] = "CallGate64", [14] = "IntGate64", [15] = "TrapGate64",
    };
    const char *name = long_mode ? long_names[type] : legacy[type];
    g_string_append(out, name ? name : "Reserved");
}

static void append_segment(GString *out, const X86State *s, const char *name, const X86Segment *seg)
{
    bool long_mode = s->mode & X86_MODE_LMA;
    g_string_append_printf(out, "%-3s=%04x %0*" PRIx64 " %08x %08x", name, seg->selector,
                           long_mode ? 16 : 8, seg->base, seg->limit,
                           (seg->access & 0xff) << 8 | (seg->access & 0xf000) << 8 |
                               (seg->limit & 0xf0000));
    if ((s->mode & X86_MODE_PE) && (seg->access & X86_SEG_P)) {
        append_segment_type(out, seg, long_mode);
    }
    g_string_append_c(out, '\n');
}

static void append_general(GString *out, const X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    bool wide = s->mode & X86_MODE_CS64;
    static const uint8_t order[] = { X86_RAX, X86_RBX, X86_RCX, X86_RDX,
                                     X86_RSI, X86_RDI, X86_RBP, X86_RSP };
    static const char *const names[] = { "AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP" };

    for (unsigned i = 0; i < 8; i++) {
        uint64_t v = s->gpr[order[i]];
        g_string_append_printf(out, "%c%s=%0*" PRIx64 "%c", wide ? 'R' : 'E', names[i],
                               wide ? 16 : 8, wide ? v : (uint32_t)v, i % 4 == 3 ? '\n' : ' ');
    }
    for (unsigned i = 8; wide && i < 16; i++) {
        g_string_append_printf(out, "R%-2u=%016" PRIx64 "%c", i, s->gpr[i],
                               i % 4 == 3 ? '\n' : ' ');
    }
    g_string_append_printf(out, "%s=%0*" PRIx64 " %s=%08x [", wide ? "RIP" : "EIP", wide ? 16 : 8,
                           s->rip, wide ? "RFL" : "EFL", (uint32_t)s->rflags);
    static const struct {
        uint32_t bit;
        char name;
    } flags[] = {
        { X86_DFL, 'D' }, { X86_OF, 'O' }, { X86_SF, 'S' }, { X86_ZF, 'Z' },
        { X86_AF, 'A' },  { X86_PF, 'P' }, { X86_CF, 'C' },
    };
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
        g_string_append_c(out, s->rflags & flags[i].bit ? flags[i].name : '-');
    }
    g_string_append_printf(out, "] CPL=%u II=%d A20=%d SMM=0 HLT=%d\n", x86_cpl(s),
                           s->interrupt_shadow != 0, s->a20_mask == ~UINT64_C(0),
                           __atomic_load_n(&cpu->parent.halted, __ATOMIC_RELAXED));
}

static void append_system(GString *out, const X86State *s)
{
    bool wide = s->mode & X86_MODE_LMA;
    int width = wide ? 16 : 8;

    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        append_segment(out, s, segment_names[i], &s->seg[i]);
    }
    append_segment(out, s, "LDT", &s->ldtr);
    append_segment(out, s, "TR", &s->tr);
    g_string_append_printf(out, "GDT=     %0*" PRIx64 " %08x\nIDT=     %0*" PRIx64 " %08x\n", width,
                           s->gdtr.base, s->gdtr.limit, width, s->idtr.base, s->idtr.limit);
    g_string_append_printf(out, "CR0=%08x CR2=%0*" PRIx64 " CR3=%0*" PRIx64 " CR4=%08x\n",
                           (uint32_t)s->cr0, width, s->cr2, width, s->cr3, (uint32_t)s->cr4);
    for (unsigned i = 0; i < 4; i++) {
        g_string_append_printf(out, "DR%u=%016" PRIx64 "%c", i, s->dr[i], i == 3 ? '\n' : ' ');
    }
    g_string_append_printf(out, "DR6=%016" PRIx64 " DR7=%016" PRIx64 "\nEFER=%016" PRIx64 "\n",
                           s->dr[6], s->dr[7], s->efer);
}

/* Offsets in the XSAVE image: SDM volume 1 table 13-1. */
static void append_vectors(GString *out, const X86State *s)
{
    uint16_t fcw = ld16_le(s->xsave), fsw = ld16_le(s->xsave + 2);
    uint8_t tags = s->xsave[4];

    g_string_append_printf(out, "FCW=%04x FSW=%04x [ST=%d] FTW=%02x MXCSR=%08x\n", fcw, fsw,
                           fsw >> 11 & 7, tags, ld32_le(s->xsave + 24));
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *st = s->xsave + 32 + 16 * i;
        g_string_append_printf(out, "FPR%u=%016" PRIx64 " %04x%c", i, ld64_le(st), ld16_le(st + 8),
                               i % 2 ? '\n' : ' ');
    }
    for (unsigned i = 0; i < (s->mode & X86_MODE_CS64 ? 16u : 8u); i++) {
        const uint8_t *xmm = s->xsave + 160 + 16 * i;
        g_string_append_printf(out, "XMM%02u=%016" PRIx64 " %016" PRIx64 "%c", i, ld64_le(xmm + 8),
                               ld64_le(xmm), i % 2 ? '\n' : ' ');
    }
}

void x86_dump_registers(X86Cpu *cpu, GString *out)
{
    append_general(out, cpu);
    append_system(out, &cpu->state);
    append_vectors(out, &cpu->state);
}
