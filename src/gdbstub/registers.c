#include "gdbstub/registers.h"

#include <string.h>

#include "base/bits.h"
#include "cpu/x86/apic.h"

/* CPUID bits: 80000001.EDX and 1.ECX. */
#define FEATURE_LM  29
#define FEATURE_AVX 28

/* Where parts lie in the XSAVE image: SDM volume 1 section 13.4. */
#define XSAVE_FCW       0
#define XSAVE_FSW       2
#define XSAVE_FTW       4 /* abridged: a bit a register, set where it holds something */
#define XSAVE_FOP       6
#define XSAVE_FIP       8
#define XSAVE_FCS       12
#define XSAVE_FDP       16
#define XSAVE_FDS       20
#define XSAVE_MXCSR     24
#define XSAVE_ST(n)     (32 + 16 * (n))
#define XSAVE_XMM(n)    (160 + 16 * (n))
#define XSAVE_BV        512
#define XSAVE_YMM_HI(n) (576 + 16 * (n))
#define XSTATE_X87      1u
#define XSTATE_SSE      2u
#define XSTATE_AVX      4u
#define FCW_INIT        0x37f
#define TAG_ZERO        1
#define TAG_SPECIAL     2
#define TAG_EMPTY       3

typedef enum RegKind {
    KIND_GPR,
    KIND_RIP,
    KIND_FLAGS,
    KIND_SELECTOR,
    KIND_ST,
    KIND_X87, /* index: one of X87_* */
    KIND_XMM,
    KIND_MXCSR,
    KIND_ORIG, /* the system call's number: known to the guest's kernel alone */
    KIND_BASE, /* of a segment */
    KIND_KERNEL_GS,
    KIND_CR,
    KIND_EFER,
    KIND_YMM_HI,
} RegKind;

enum { X87_FCTRL, X87_FSTAT, X87_FTAG, X87_FISEG, X87_FIOFF, X87_FOSEG, X87_FOOFF, X87_FOP };

typedef struct Reg {
    const char *name;
    RegKind kind;
    uint8_t index;
    uint8_t bytes;
} Reg;

struct GdbRegisters {
    GArray *list; /* Reg */
    GString *xml;
    GStringChunk *names;
};

/* --- Making the description --- */

static void add(GdbRegisters *r, const char *name, RegKind kind, unsigned index, unsigned bytes,
                const char *type)
{
    Reg reg = { g_string_chunk_insert(r->names, name), kind, (uint8_t)index, (uint8_t)bytes };
    g_array_append_val(r->list, reg);
    g_string_append_printf(r->xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"/>\n", name,
                           bytes * 8, type);
}

static void add_numbered(GdbRegisters *r, const char *format, RegKind kind, unsigned count,
                         unsigned bytes, const char *type)
{
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf(format, i);
        add(r, name, kind, i, bytes, type);
    }
}

static void begin_feature(GdbRegisters *r, const char *name)
{
    g_string_append_printf(r->xml, "<feature name=\"%s\">\n", name);
}

static void end_feature(GdbRegisters *r)
{
    g_string_append(r->xml, "</feature>\n");
}

static void add_flags_type(GdbRegisters *r)
{
    static const struct {
        const char *name;
        unsigned start, end;
    } fields[] = {
        { "CF", 0, 0 },     { "", 1, 1 },      { "PF", 2, 2 },   { "AF", 4, 4 },   { "ZF", 6, 6 },
        { "SF", 7, 7 },     { "TF", 8, 8 },    { "IF", 9, 9 },   { "DF", 10, 10 }, { "OF", 11, 11 },
        { "IOPL", 12, 13 }, { "NT", 14, 14 },  { "RF", 16, 16 }, { "VM", 17, 17 }, { "AC", 18, 18 },
        { "VIF", 19, 19 },  { "VIP", 20, 20 }, { "ID", 21, 21 },
    };
    g_string_append(r->xml, "<flags id=\"i386_eflags\" size=\"4\">\n");
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
        g_string_append_printf(r->xml, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>\n",
                               fields[i].name, fields[i].start, fields[i].end);
    }
    g_string_append(r->xml, "</flags>\n");
}

static void add_core(GdbRegisters *r, bool wide)
{
    static const uint8_t order64[] = { X86_RAX, X86_RBX, X86_RCX, X86_RDX,
                                       X86_RSI, X86_RDI, X86_RBP, X86_RSP };
    static const char *const names[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };
    static const char *const segments[] = { "cs", "ss", "ds", "es", "fs", "gs" };
    static const uint8_t segment_order[] = { X86_CS, X86_SS, X86_DS, X86_ES, X86_FS, X86_GS };
    static const char *const x87[] = { "fctrl", "fstat", "ftag",  "fiseg",
                                       "fioff", "foseg", "fooff", "fop" };
    unsigned bytes = wide ? 8 : 4;

    begin_feature(r, "org.gnu.gdb.i386.core");
    add_flags_type(r);
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = wide ? order64[i] : i;
        g_autofree char *name = g_strdup_printf("%c%s", wide ? 'r' : 'e', names[n]);
        bool pointer = n == X86_RSP || n == X86_RBP;
        add(r, name, KIND_GPR, n, bytes, pointer ? "data_ptr" : wide ? "int64" : "int32");
    }
    for (unsigned i = 8; wide && i < 16; i++) {
        g_autofree char *name = g_strdup_printf("r%u", i);
        add(r, name, KIND_GPR, i, 8, "int64");
    }
    add(r, wide ? "rip" : "eip", KIND_RIP, 0, bytes, "code_ptr");
    add(r, "eflags", KIND_FLAGS, 0, 4, "i386_eflags");
    for (unsigned i = 0; i < ARRAY_LEN(segments); i++) {
        add(r, segments[i], KIND_SELECTOR, segment_order[i], 4, "int32");
    }
    add_numbered(r, "st%u", KIND_ST, 8, 10, "i387_ext");
    for (unsigned i = 0; i < ARRAY_LEN(x87); i++) {
        add(r, x87[i], KIND_X87, i, 4, "int");
    }
    end_feature(r);
}

static void add_sse(GdbRegisters *r, bool wide)
{
    begin_feature(r, "org.gnu.gdb.i386.sse");
    g_string_append(r->xml, "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>\n"
                            "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>\n"
                            "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>\n"
                            "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>\n"
                            "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>\n"
                            "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n"
                            "<union id=\"vec128\">\n"
                            "<field name=\"v4_float\" type=\"v4f\"/>\n"
                            "<field name=\"v2_double\" type=\"v2d\"/>\n"
                            "<field name=\"v16_int8\" type=\"v16i8\"/>\n"
                            "<field name=\"v8_int16\" type=\"v8i16\"/>\n"
                            "<field name=\"v4_int32\" type=\"v4i32\"/>\n"
                            "<field name=\"v2_int64\" type=\"v2i64\"/>\n"
                            "<field name=\"uint128\" type=\"uint128\"/>\n"
                            "</union>\n");
    add_numbered(r, "xmm%u", KIND_XMM, wide ? 16 : 8, 16, "vec128");
    add(r, "mxcsr", KIND_MXCSR, 0, 4, "int");
    end_feature(r);
}

static void add_system(GdbRegisters *r, bool wide)
{
    static const char *const names[] = { "cr0", "cr2", "cr3", "cr4", "cr8" };
    static const uint8_t numbers[] = { 0, 2, 3, 4, 8 };
    unsigned bytes = wide ? 8 : 4;
    const char *type = wide ? "int64" : "int32";

    begin_feature(r, "org.rhea.x86.system");
    for (unsigned i = 0; i < (wide ? 5u : 4u); i++) {
        add(r, names[i], KIND_CR, numbers[i], bytes, type);
    }
    if (wide) {
        add(r, "efer", KIND_EFER, 0, 8, type);
        add(r, "k_gs_base", KIND_KERNEL_GS, 0, 8, type);
    }
    end_feature(r);
}

static bool wants_wide(const X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    bool small_system = (s->mode & X86_MODE_PAGING) && !(s->mode & X86_MODE_LMA);
    return x86_has_feature(cpu, X86_CPUID_80000001_EDX, FEATURE_LM) && !small_system;
}

GdbRegisters *gdb_registers_new(const X86Cpu *cpu)
{
    bool wide = wants_wide(cpu);
    GdbRegisters *r = g_new(GdbRegisters, 1);
    r->list = g_array_new(FALSE, FALSE, sizeof(Reg));
    r->xml = g_string_new(NULL);
    r->names = g_string_chunk_new(256);
    g_string_append_printf(r->xml,
                           "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
                           "<target>\n<architecture>%s</architecture>\n",
                           wide ? "i386:x86-64" : "i386");
    add_core(r, wide);
    add_sse(r, wide);
    begin_feature(r, "org.gnu.gdb.i386.linux");
    add(r, wide ? "orig_rax" : "orig_eax", KIND_ORIG, 0, wide ? 8 : 4, wide ? "int64" : "int32");
    end_feature(r);
    if (wide) {
        begin_feature(r, "org.gnu.gdb.i386.segments");
        add(r, "fs_base", KIND_BASE, X86_FS, 8, "int64");
        add(r, "gs_base", KIND_BASE, X86_GS, 8, "int64");
        end_feature(r);
    }
    add_system(r, wide);
    if (x86_has_feature(cpu, X86_CPUID_1_ECX, FEATURE_AVX)) {
        begin_feature(r, "org.gnu.gdb.i386.avx");
        add_numbered(r, "ymm%uh", KIND_YMM_HI, wide ? 16 : 8, 16, "uint128");
        end_feature(r);
    }
    g_string_append(r->xml, "</target>\n");
    return r;
}

void gdb_registers_free(GdbRegisters *regs)
{
    if (regs) {
        g_array_free(regs->list, TRUE);
        g_string_free(regs->xml, TRUE);
        g_string_chunk_free(regs->names);
        g_free(regs);
    }
}

const char *gdb_registers_xml(const GdbRegisters *regs, size_t *len)
{
    *len = regs->xml->len;
    return regs->xml->str;
}

unsigned gdb_registers_count(const GdbRegisters *regs)
{
    return regs->list->len;
}

static const Reg *find(const GdbRegisters *regs, unsigned number)
{
    return number < regs->list->len ? &g_array_index(regs->list, Reg, number) : NULL;
}

unsigned gdb_register_size(const GdbRegisters *regs, unsigned number)
{
    const Reg *reg = find(regs, number);
    return reg ? reg->bytes : 0;
}

/* --- Vector and x87 state --- */

/* What a component in its initial state would hold isn't in the image. */
static bool has_component(const X86State *s, unsigned bit)
{
    return s->xsave[XSAVE_BV] & bit;
}

/* Before a part of a component is written, the rest must be what it stands for. */
static void touch_component(X86State *s, unsigned bit)
{
    if (has_component(s, bit)) {
        return;
    }
    if (bit == XSTATE_X87) {
        memset(s->xsave, 0, XSAVE_MXCSR);
        memset(s->xsave + XSAVE_ST(0), 0, XSAVE_XMM(0) - XSAVE_ST(0));
        st16_le(s->xsave + XSAVE_FCW, FCW_INIT);
    } else if (bit == XSTATE_SSE) {
        memset(s->xsave + XSAVE_XMM(0), 0, 16 * 16);
    } else {
        memset(s->xsave + XSAVE_YMM_HI(0), 0, 16 * 16);
    }
    s->xsave[XSAVE_BV] |= (uint8_t)bit;
}

/* The full tag word from the abridged one: SDM volume 1 section 8.1.7 and 10.5.1.1. */
static uint16_t full_tags(const X86State *s)
{
    unsigned top = ld16_le(s->xsave + XSAVE_FSW) >> 11 & 7, tags = 0;
    for (unsigned physical = 0; physical < 8; physical++) {
        const uint8_t *st = s->xsave + XSAVE_ST((physical - top) & 7);
        unsigned exponent = ld16_le(st + 8) & 0x7fff, tag = 0;
        uint64_t fraction = ld64_le(st);
        if (!(s->xsave[XSAVE_FTW] >> physical & 1)) {
            tag = TAG_EMPTY;
        } else if (!exponent && !fraction) {
            tag = TAG_ZERO;
        } else if (exponent == 0x7fff || !(fraction >> 63)) {
            tag = TAG_SPECIAL;
        }
        tags |= tag << (2 * physical);
    }
    return (uint16_t)tags;
}

static uint32_t x87_read(const X86State *s, unsigned which)
{
    if (!has_component(s, XSTATE_X87)) {
        return which == X87_FCTRL ? FCW_INIT : which == X87_FTAG ? 0xffff : 0;
    }
    switch (which) {
    case X87_FCTRL:
        return ld16_le(s->xsave + XSAVE_FCW);
    case X87_FSTAT:
        return ld16_le(s->xsave + XSAVE_FSW);
    case X87_FTAG:
        return full_tags(s);
    case X87_FISEG:
        return ld16_le(s->xsave + XSAVE_FCS);
    case X87_FIOFF:
        return ld32_le(s->xsave + XSAVE_FIP);
    case X87_FOSEG:
        return ld16_le(s->xsave + XSAVE_FDS);
    case X87_FOOFF:
        return ld32_le(s->xsave + XSAVE_FDP);
    default:
        return ld16_le(s->xsave + XSAVE_FOP);
    }
}

static void x87_write(X86State *s, unsigned which, uint32_t value)
{
    static const uint8_t at[] = {
        [X87_FCTRL] = XSAVE_FCW, [X87_FSTAT] = XSAVE_FSW, [X87_FISEG] = XSAVE_FCS,
        [X87_FIOFF] = XSAVE_FIP, [X87_FOSEG] = XSAVE_FDS, [X87_FOOFF] = XSAVE_FDP,
        [X87_FOP] = XSAVE_FOP
    };
    uint8_t tags = 0;
    touch_component(s, XSTATE_X87);
    switch (which) {
    case X87_FTAG:
        for (unsigned i = 0; i < 8; i++) {
            tags |= (uint8_t)(((value >> (2 * i) & 3) != TAG_EMPTY) << i);
        }
        s->xsave[XSAVE_FTW] = tags;
        break;
    case X87_FIOFF:
    case X87_FOOFF:
        st32_le(s->xsave + at[which], value);
        break;
    default:
        st16_le(s->xsave + at[which], (uint16_t)value);
    }
}

/* Reserved bits of MXCSR would make the host fault when it loads them. */
#define MXCSR_VALID 0xffffu

static const uint8_t *vector_part(const X86State *s, const Reg *reg)
{
    unsigned bit = reg->kind == KIND_ST    ? XSTATE_X87
                   : reg->kind == KIND_XMM ? XSTATE_SSE
                                           : XSTATE_AVX;
    unsigned at = reg->kind == KIND_ST    ? XSAVE_ST(reg->index)
                  : reg->kind == KIND_XMM ? XSAVE_XMM(reg->index)
                                          : XSAVE_YMM_HI(reg->index);
    return has_component(s, bit) ? s->xsave + at : NULL;
}

/* --- Values --- */

static uint64_t cr_read(const X86Cpu *cpu, unsigned n)
{
    const X86State *s = &cpu->state;
    switch (n) {
    case 0:
        return s->cr0;
    case 2:
        return s->cr2;
    case 3:
        return s->cr3;
    case 4:
        return s->cr4;
    default:
        return cpu->apic ? x86_apic_get_tpr(cpu->apic) >> 4 : 0;
    }
}

static uint64_t read_number(const X86Cpu *cpu, const Reg *reg)
{
    const X86State *s = &cpu->state;
    switch (reg->kind) {
    case KIND_GPR:
        return s->gpr[reg->index];
    case KIND_RIP:
        return s->rip;
    case KIND_FLAGS:
        return s->rflags;
    case KIND_SELECTOR:
        return s->seg[reg->index].selector;
    case KIND_X87:
        return x87_read(s, reg->index);
    case KIND_MXCSR:
        return ld32_le(s->xsave + XSAVE_MXCSR);
    case KIND_ORIG:
        return UINT64_MAX; /* not in a system call */
    case KIND_BASE:
        return s->seg[reg->index].base;
    case KIND_KERNEL_GS:
        return s->kernel_gs_base;
    case KIND_CR:
        return cr_read(cpu, reg->index);
    default:
        return s->efer;
    }
}

unsigned gdb_register_read(const GdbRegisters *regs, const X86Cpu *cpu, unsigned number,
                           uint8_t value[GDB_REGISTER_BYTES_MAX])
{
    const Reg *reg = find(regs, number);
    if (!reg) {
        return 0;
    }
    memset(value, 0, GDB_REGISTER_BYTES_MAX);
    if (reg->kind == KIND_ST || reg->kind == KIND_XMM || reg->kind == KIND_YMM_HI) {
        const uint8_t *part = vector_part(&cpu->state, reg);
        if (part) {
            memcpy(value, part, reg->bytes);
        }
    } else {
        st64_le(value, read_number(cpu, reg));
    }
    return reg->bytes;
}

/* Where a selector alone says what the segment is: real and virtual-8086 mode. In protected mode
 * only the value it has is taken. */
static bool write_selector(X86Cpu *cpu, unsigned n, uint64_t value)
{
    X86State *s = &cpu->state;
    if ((s->mode & X86_MODE_PE) && !(s->mode & X86_MODE_VM86)) {
        return value == s->seg[n].selector;
    }
    s->seg[n].selector = (uint16_t)value;
    s->seg[n].base = (value & 0xffff) << 4;
    return true;
}

static bool write_cr(X86Cpu *cpu, unsigned n, uint64_t value)
{
    if (n == 2) {
        cpu->state.cr2 = value;
        return true;
    }
    if (n == 3) {
        /* what follows from it (PDPTEs, address bits) isn't checked: keep to what hardware has */
        bool pae = (cpu->state.cr4 & X86_CR4_PAE) && !(cpu->state.mode & X86_MODE_LMA);
        if (value != cpu->state.cr3 && (pae || value >> cpu->phys_bits)) {
            return false;
        }
        cpu->state.cr3 = value;
        return true;
    }
    return value == cr_read(cpu, n); /* modes change by the guest's own instructions */
}

static bool write_number(X86Cpu *cpu, const Reg *reg, uint64_t value)
{
    X86State *s = &cpu->state;
    switch (reg->kind) {
    case KIND_GPR:
        s->gpr[reg->index] = value;
        return true;
    case KIND_RIP:
        s->rip = s->mode & X86_MODE_CS64 ? value : (uint32_t)value;
        return true;
    case KIND_FLAGS:
        /* VM decides what the segments are */
        s->rflags = (value & X86_ALL_FLAGS & ~(uint64_t)X86_VM) | (s->rflags & X86_VM) | 2;
        return true;
    case KIND_SELECTOR:
        return write_selector(cpu, reg->index, value);
    case KIND_X87:
        x87_write(s, reg->index, (uint32_t)value);
        return true;
    case KIND_MXCSR:
        st32_le(s->xsave + XSAVE_MXCSR, (uint32_t)value & MXCSR_VALID);
        return true;
    case KIND_ORIG:
        return true; /* gdb writes it back with all others */
    case KIND_BASE:
        s->seg[reg->index].base = value;
        return true;
    case KIND_KERNEL_GS:
        s->kernel_gs_base = value;
        return true;
    case KIND_CR:
        return write_cr(cpu, reg->index, value);
    default:
        return value == s->efer;
    }
}

unsigned gdb_register_write(const GdbRegisters *regs, X86Cpu *cpu, unsigned number,
                            const uint8_t *value, size_t len)
{
    const Reg *reg = find(regs, number);
    X86State *s = &cpu->state;
    if (!reg || len < reg->bytes) {
        return 0;
    }
    if (reg->kind == KIND_ST || reg->kind == KIND_XMM || reg->kind == KIND_YMM_HI) {
        touch_component(s, reg->kind == KIND_ST    ? XSTATE_X87
                           : reg->kind == KIND_XMM ? XSTATE_SSE
                                                   : XSTATE_AVX);
        memcpy((uint8_t *)(uintptr_t)vector_part(s, reg), value, reg->bytes);
        return reg->bytes;
    }
    uint8_t wide[8] = { 0 };
    memcpy(wide, value, MIN_OF(reg->bytes, 8u));
    bool ok = write_number(cpu, reg, ld64_le(wide));
    x86_update_mode(cpu);
    return ok ? reg->bytes : 0;
}
