/*
 * The XSAVE family on the state image in X86State.xsave, which is in the host's standard format.
 * SDM volume 1 chapter 13.
 */
#include "cpu/x86/xsave.h"

#include <cpuid.h>
#include <pthread.h>

#include "cpu/x86/exception.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/system.h"

/* The legacy region, table 13-1. */
enum {
    LEGACY_FCW = 0,
    LEGACY_MXCSR = 24,
    LEGACY_MXCSR_MASK = 28,
    LEGACY_ST = 32,
    LEGACY_XMM = 160,
    LEGACY_END = 512,
    HEADER_BV = 512,
    HEADER_COMP = 520,
    HEADER_END = 576,
};
#define XCOMP_COMPACTED (UINT64_C(1) << 63)
#define FCW_INIT        0x37fu
#define MXCSR_INIT      0x1f80u

/* The host's layout: asked for once, because a CPUID costs an exit where the host is a guest. */
#define COMPONENTS 63
static X86XsaveComponent layout[COMPONENTS];
static pthread_once_t layout_once = PTHREAD_ONCE_INIT;

static void read_layout(void)
{
    uint32_t a, b, cx, d;
    for (unsigned i = 2; i < COMPONENTS; i++) {
        /* Supervisor states (ECX bit 0) are not in the standard format. */
        if (__get_cpuid_count(0xd, i, &a, &b, &cx, &d) && a && !(cx & 1) &&
            b + a <= X86_XSAVE_SIZE) {
            layout[i] = (X86XsaveComponent){ .offset = b, .size = a, .aligned = cx & 2 };
        }
    }
}

void x86_xsave_component(unsigned i, X86XsaveComponent *c)
{
    pthread_once(&layout_once, read_layout);
    *c = i < COMPONENTS ? layout[i] : (X86XsaveComponent){ 0 };
}

uint32_t x86_xsave_area_size(uint64_t components)
{
    uint32_t size = HEADER_END;
    for (unsigned i = 2; i < 63; i++) {
        X86XsaveComponent c;
        if (components >> i & 1) {
            x86_xsave_component(i, &c);
            size = MAX_OF(size, c.offset + c.size);
        }
    }
    return size;
}

/* Offset of component i in a compacted area that holds `components`. */
static uint32_t compacted_offset(uint64_t components, unsigned i)
{
    uint32_t at = HEADER_END;
    for (unsigned j = 2; j <= i; j++) {
        X86XsaveComponent c;
        if (!(components >> j & 1)) {
            continue;
        }
        x86_xsave_component(j, &c);
        if (c.aligned) {
            at = ALIGN_UP(at, 64u);
        }
        if (j == i) {
            break;
        }
        at += c.size;
    }
    return at;
}

uint32_t x86_xsave_compacted_size(uint64_t components)
{
    if (!(components >> 2)) {
        return HEADER_END;
    }
    unsigned last = 63 - __builtin_clzll(components);
    X86XsaveComponent c;
    x86_xsave_component(last, &c);
    return compacted_offset(components, last) + c.size;
}

static uint64_t in_use(const X86State *s)
{
    return ld64_le(s->xsave + HEADER_BV);
}

static void set_in_use(X86State *s, uint64_t components)
{
    st64_le(s->xsave + HEADER_BV, components);
}

/* Write component i's initial configuration into the image. */
static void init_component(X86State *s, unsigned i)
{
    X86XsaveComponent c;
    switch (i) {
    case 0:
        memset(s->xsave, 0, LEGACY_MXCSR);
        memset(s->xsave + LEGACY_ST, 0, LEGACY_XMM - LEGACY_ST);
        st16_le(s->xsave + LEGACY_FCW, FCW_INIT);
        break;
    case 1:
        /* MXCSR is not part of the component when it is tracked: section 13.6. */
        memset(s->xsave + LEGACY_XMM, 0, LEGACY_END - 96 - LEGACY_XMM);
        break;
    default:
        x86_xsave_component(i, &c);
        memset(s->xsave + c.offset, 0, c.size);
        break;
    }
}

/* Make the bytes of components that are in their initial configuration say so. */
static void materialize(X86State *s, uint64_t components)
{
    for (unsigned i = 0; i < 63 && components >> i; i++) {
        if ((components >> i & 1) && !(in_use(s) >> i & 1)) {
            init_component(s, i);
        }
    }
}

void x86_xsave_reset(X86State *s)
{
    memset(s->xsave, 0, sizeof(s->xsave));
    st16_le(s->xsave + LEGACY_FCW, 0x40); /* power-up: SDM volume 3 table 9-1 */
    st32_le(s->xsave + LEGACY_MXCSR, MXCSR_INIT);
    set_in_use(s, 1);
}

/* PKRU lives in X86State.pkru; the image gets it for a save and gives it back after a restore. */
#define COMPONENT_PKRU 9

static void pkru_to_image(X86State *s)
{
    X86XsaveComponent c;
    x86_xsave_component(COMPONENT_PKRU, &c);
    if (c.size) {
        st32_le(s->xsave + c.offset, s->pkru);
        set_in_use(s, in_use(s) | 1u << COMPONENT_PKRU);
    }
}

static void pkru_from_image(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    X86XsaveComponent c;
    x86_xsave_component(COMPONENT_PKRU, &c);
    uint32_t pkru = c.size ? ld32_le(s->xsave + c.offset) : 0;
    if (pkru != s->pkru) {
        s->pkru = pkru;
        if (cpu->tlb.flush_all) {
            cpu->tlb.flush_all(cpu, true);
        }
    }
}

/* --- Checks --- */

static void check_xsave(X86Cpu *cpu, uint64_t area)
{
    const X86State *s = &cpu->state;
    if (!(s->cr4 & X86_CR4_OSXSAVE)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    if (s->cr0 & X86_CR0_TS) {
        x86_raise(cpu, X86_EXC_NM);
    }
    if (area & 63) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    x86_park_fpu(cpu);
}

static void check_fxsave(X86Cpu *cpu, uint64_t area)
{
    const X86State *s = &cpu->state;
    if (s->cr0 & X86_CR0_EM) {
        x86_raise(cpu, X86_EXC_UD);
    }
    if (s->cr0 & X86_CR0_TS) {
        x86_raise(cpu, X86_EXC_NM);
    }
    if (area & 15) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    x86_park_fpu(cpu);
}

/* --- Moving components --- */

/* In 64-bit mode all 16 XMM registers, else eight. */
static unsigned xmm_bytes(const X86State *s)
{
    return s->mode & X86_MODE_CS64 ? 256 : 128;
}

static void store(X86Cpu *cpu, uint64_t area, unsigned offset, unsigned len)
{
    x86_linear_write(cpu, area + offset, cpu->state.xsave + offset, len,
                     x86_access_cpl(&cpu->state));
}

static void load(X86Cpu *cpu, uint64_t area, unsigned offset, unsigned len)
{
    x86_linear_read(cpu, area + offset, cpu->state.xsave + offset, len,
                    x86_access_cpl(&cpu->state));
}

static void store_u64(X86Cpu *cpu, uint64_t linear, uint64_t value)
{
    x86_linear_store(cpu, linear, value, 8, x86_access_cpl(&cpu->state));
}

static uint64_t load_u64(X86Cpu *cpu, uint64_t linear)
{
    return x86_linear_load(cpu, linear, 8, x86_access_cpl(&cpu->state));
}

/* x87 without the pointers' upper halves, as the form without REX.W has them: selectors, which
 * present CPUs report as zero. */
static void store_x87(X86Cpu *cpu, uint64_t area, bool rex_w)
{
    X86State *s = &cpu->state;
    uint8_t head[LEGACY_MXCSR];
    memcpy(head, s->xsave, sizeof(head));
    if (!rex_w) {
        memset(head + 12, 0, 4);
        memset(head + 20, 0, 4);
    }
    x86_linear_write(cpu, area, head, sizeof(head), x86_access_cpl(s));
    store(cpu, area, LEGACY_ST, LEGACY_XMM - LEGACY_ST);
}

static void store_mxcsr(X86Cpu *cpu, uint64_t area)
{
    const X86State *s = &cpu->state;
    uint64_t both = ld32_le(s->xsave + LEGACY_MXCSR) | (uint64_t)x86_mxcsr_mask() << 32;
    store_u64(cpu, area + LEGACY_MXCSR, both);
}

static void check_mxcsr(X86Cpu *cpu, uint32_t mxcsr)
{
    if (mxcsr & ~x86_mxcsr_mask()) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

uint32_t x86_mxcsr_mask(void)
{
    uint8_t area[512] __attribute__((aligned(16))) = { 0 };
    __asm__ volatile("fxsave %0" : "=m"(area));
    uint32_t mask = ld32_le(area + LEGACY_MXCSR_MASK);
    return mask ? mask : 0xffbf; /* SDM volume 1 section 11.6.6 */
}

/* --- XSAVE, XSAVEOPT, XSAVEC, XSAVES --- */

static void check_range(X86Cpu *cpu, uint64_t area, unsigned len, unsigned access)
{
    x86_linear_check(cpu, area, len, access | x86_access_cpl(&cpu->state));
}

void x86_xsave(X86Cpu *cpu, uint64_t area, uint64_t mask, X86XsaveForm form, bool rex_w)
{
    X86State *s = &cpu->state;

    check_xsave(cpu, area);
    if (form == X86_XSAVES && x86_cpl(s)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    bool compacted = form == X86_XSAVEC || form == X86_XSAVES;
    uint64_t wanted = mask & (s->xcr0 | (form == X86_XSAVES ? s->xss : 0));
    if (wanted >> COMPONENT_PKRU & 1) {
        pkru_to_image(s);
    }
    uint64_t used = in_use(s);
    /* MXCSR other than the initial value makes SSE count as used for the forms that drop
     * components: section 13.6. */
    if (compacted && ld32_le(s->xsave + LEGACY_MXCSR) != MXCSR_INIT) {
        used |= 2;
    }
    uint64_t written = form == X86_XSAVE ? wanted : wanted & used;
    uint64_t header = area + HEADER_BV;

    check_range(cpu, area,
                compacted ? x86_xsave_compacted_size(wanted) : x86_xsave_area_size(wanted),
                X86_ACCESS_WRITE);
    materialize(s, written);
    if (written & 1) {
        store_x87(cpu, area, rex_w);
    }
    if (written & 2) {
        store(cpu, area, LEGACY_XMM, xmm_bytes(s));
    }
    if (compacted ? (written & 2) != 0 : (wanted & 6) != 0) {
        store_mxcsr(cpu, area);
    }
    for (unsigned i = 2; i < 63 && written >> i; i++) {
        X86XsaveComponent c;
        if (!(written >> i & 1)) {
            continue;
        }
        x86_xsave_component(i, &c);
        uint32_t at = compacted ? compacted_offset(wanted, i) : c.offset;
        x86_linear_write(cpu, area + at, s->xsave + c.offset, c.size, x86_access_cpl(s));
    }
    if (compacted) {
        store_u64(cpu, header, wanted & used);
        store_u64(cpu, header + 8, wanted | XCOMP_COMPACTED);
    } else {
        uint64_t old = load_u64(cpu, header);
        store_u64(cpu, header, (old & ~wanted) | (used & wanted));
    }
}

/* --- XRSTOR, XRSTORS --- */

void x86_xrstor(X86Cpu *cpu, uint64_t area, uint64_t mask, bool supervisor, bool rex_w)
{
    X86State *s = &cpu->state;

    check_xsave(cpu, area);
    if (supervisor && x86_cpl(s)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    uint64_t allowed = s->xcr0 | (supervisor ? s->xss : 0);
    uint64_t wanted = mask & allowed;
    uint64_t bv = load_u64(cpu, area + HEADER_BV);
    uint64_t comp = load_u64(cpu, area + HEADER_COMP);
    bool compacted = comp & XCOMP_COMPACTED;
    bool bad = compacted ? (comp & ~XCOMP_COMPACTED & ~allowed) || (bv & ~comp)
                         : supervisor || comp || (bv & ~s->xcr0);
    /* Standard form: bytes 8 to 23 of the header; compacted: 16 to 63. */
    for (unsigned at = 16; at < (compacted ? 64u : 24u); at += 8) {
        bad |= load_u64(cpu, area + HEADER_BV + at) != 0;
    }
    if (bad) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    uint64_t packed = compacted ? comp & ~XCOMP_COMPACTED : 0;
    uint64_t from_memory = wanted & bv;
    check_range(cpu, area,
                compacted ? x86_xsave_compacted_size(packed) : x86_xsave_area_size(wanted), 0);
    /* The compacted form takes MXCSR with SSE, or initialises it; the standard one with SSE or
     * AVX, whatever XSTATE_BV says. */
    bool mxcsr_from_memory = compacted ? (from_memory & 2) != 0 : (wanted & 6) != 0;
    uint32_t mxcsr = MXCSR_INIT;
    if (mxcsr_from_memory) {
        mxcsr = (uint32_t)load_u64(cpu, area + LEGACY_MXCSR);
        check_mxcsr(cpu, mxcsr);
    }
    if (mxcsr_from_memory || (wanted & 2)) {
        st32_le(s->xsave + LEGACY_MXCSR, mxcsr);
    }
    for (unsigned i = 0; i < 63 && wanted >> i; i++) {
        if ((wanted >> i & 1) && !(from_memory >> i & 1)) {
            init_component(s, i);
        }
    }
    if (from_memory & 1) {
        load(cpu, area, 0, LEGACY_MXCSR);
        if (!rex_w) {
            memset(s->xsave + 12, 0, 4);
            memset(s->xsave + 20, 0, 4);
        }
        load(cpu, area, LEGACY_ST, LEGACY_XMM - LEGACY_ST);
    }
    if (from_memory & 2) {
        load(cpu, area, LEGACY_XMM, xmm_bytes(s));
    }
    for (unsigned i = 2; i < 63 && from_memory >> i; i++) {
        X86XsaveComponent c;
        if (!(from_memory >> i & 1)) {
            continue;
        }
        x86_xsave_component(i, &c);
        uint32_t at = compacted ? compacted_offset(packed, i) : c.offset;
        x86_linear_read(cpu, area + at, s->xsave + c.offset, c.size, x86_access_cpl(s));
    }
    set_in_use(s, (in_use(s) & ~wanted) | from_memory);
    if (wanted >> COMPONENT_PKRU & 1) {
        pkru_from_image(cpu);
    }
}

/* --- FXSAVE, FXRSTOR --- */

void x86_fxsave(X86Cpu *cpu, uint64_t area, bool rex_w)
{
    X86State *s = &cpu->state;
    check_fxsave(cpu, area);
    check_range(cpu, area, LEGACY_END, X86_ACCESS_WRITE);
    materialize(s, 3);
    store_x87(cpu, area, rex_w);
    store_mxcsr(cpu, area);
    if (s->cr4 & X86_CR4_OSFXSR) {
        store(cpu, area, LEGACY_XMM, xmm_bytes(s));
    }
}

void x86_fxrstor(X86Cpu *cpu, uint64_t area, bool rex_w)
{
    X86State *s = &cpu->state;
    check_fxsave(cpu, area);
    check_range(cpu, area, LEGACY_END, 0);
    bool sse = s->cr4 & X86_CR4_OSFXSR;
    materialize(s, 3);
    if (sse) {
        uint32_t mxcsr = (uint32_t)load_u64(cpu, area + LEGACY_MXCSR);
        check_mxcsr(cpu, mxcsr);
        st32_le(s->xsave + LEGACY_MXCSR, mxcsr);
        load(cpu, area, LEGACY_XMM, xmm_bytes(s));
    }
    load(cpu, area, 0, LEGACY_MXCSR);
    if (!rex_w) {
        memset(s->xsave + 12, 0, 4);
        memset(s->xsave + 20, 0, 4);
    }
    load(cpu, area, LEGACY_ST, LEGACY_XMM - LEGACY_ST);
    set_in_use(s, in_use(s) | (sse ? 3 : 1));
}

/* --- XCR0, PKRU, and when vector instructions may run --- */

void x86_xgetbv(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    uint32_t index = (uint32_t)s->gpr[X86_RCX];
    uint64_t value;

    if (!(s->cr4 & X86_CR4_OSXSAVE)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    if (index == 0) {
        value = s->xcr0;
    } else if (index == 1 && x86_has_feature(cpu, X86_CPUID_D_1_EAX, 2)) {
        x86_park_fpu(cpu);
        value = s->xcr0 & in_use(s);
    } else {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    s->gpr[X86_RAX] = (uint32_t)value;
    s->gpr[X86_RDX] = value >> 32;
}

bool x86_xcr0_valid(const X86Cpu *cpu, uint64_t value)
{
    const uint64_t avx512 = 0xe0;
    if ((value & ~x86_xcr0_supported(cpu)) || !(value & 1)) {
        return false;
    }
    if ((value & 4) && !(value & 2)) {
        return false;
    }
    return !(value & avx512) || ((value & avx512) == avx512 && (value & 4));
}

uint64_t x86_xcr0_supported(const X86Cpu *cpu)
{
    uint64_t mask = 3;
    if (x86_has_feature(cpu, X86_CPUID_1_ECX, 28)) {
        mask |= 4; /* AVX */
    }
    if (x86_has_feature(cpu, X86_CPUID_7_0_EBX, 16)) {
        mask |= 0xe0; /* AVX-512 */
    }
    if (x86_has_feature(cpu, X86_CPUID_7_0_ECX, 3)) {
        mask |= 0x200; /* PKRU */
    }
    return mask;
}

void x86_xsetbv(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    uint64_t value = (uint32_t)s->gpr[X86_RAX] | s->gpr[X86_RDX] << 32;

    if (!(s->cr4 & X86_CR4_OSXSAVE)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    if (x86_cpl(s) || (uint32_t)s->gpr[X86_RCX] != 0 || !x86_xcr0_valid(cpu, value)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    x86_park_fpu(cpu);
    s->xcr0 = value;
    x86_update_mode(cpu);
}

static void check_pkru(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    if (!(s->cr4 & X86_CR4_PKE)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    if ((uint32_t)s->gpr[X86_RCX]) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

void x86_rdpkru(X86Cpu *cpu)
{
    check_pkru(cpu);
    cpu->state.gpr[X86_RAX] = cpu->state.pkru;
    cpu->state.gpr[X86_RDX] = 0;
}

void x86_wrpkru(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    check_pkru(cpu);
    if ((uint32_t)s->gpr[X86_RDX]) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    if (s->pkru != (uint32_t)s->gpr[X86_RAX]) {
        s->pkru = (uint32_t)s->gpr[X86_RAX];
        if (cpu->tlb.flush_all) {
            cpu->tlb.flush_all(cpu, true);
        }
    }
}

void x86_check_fpu(X86Cpu *cpu, X86FpuKind kind)
{
    const X86State *s = &cpu->state;
    bool ts = s->cr0 & X86_CR0_TS, em = s->cr0 & X86_CR0_EM, mp = s->cr0 & X86_CR0_MP;

    switch (kind) {
    case X86_FPU_X87:
        if (em || ts) {
            x86_raise(cpu, X86_EXC_NM);
        }
        break;
    case X86_FPU_WAIT:
        if (mp && ts) {
            x86_raise(cpu, X86_EXC_NM);
        }
        break;
    case X86_FPU_SSE:
        if (em || !(s->cr4 & X86_CR4_OSFXSR)) {
            x86_raise(cpu, X86_EXC_UD);
        }
        if (ts) {
            x86_raise(cpu, X86_EXC_NM);
        }
        break;
    case X86_FPU_MMX:
        if (em) {
            x86_raise(cpu, X86_EXC_UD);
        }
        if (ts) {
            x86_raise(cpu, X86_EXC_NM);
        }
        break;
    case X86_FPU_AVX:
        if (!(s->mode & X86_MODE_AVX)) {
            x86_raise(cpu, X86_EXC_UD);
        }
        if (ts) {
            x86_raise(cpu, X86_EXC_NM);
        }
        break;
    case X86_FPU_AVX512:
        if (!(s->mode & X86_MODE_AVX512)) {
            x86_raise(cpu, X86_EXC_UD);
        }
        if (ts) {
            x86_raise(cpu, X86_EXC_NM);
        }
        break;
    }
}
