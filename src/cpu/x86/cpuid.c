/* CPUID. SDM volume 2 (CPUID), APM volume 3 appendix E. */
#include "cpu/x86/apic-internal.h"
#include "cpu/x86/system.h"
#include "cpu/x86/xsave.h"

#define HYPERVISOR_BASE      0x40000000u
#define HYPERVISOR_SIGNATURE "RheaRheaRhea"
#define EXTENDED_BASE        0x80000000u

enum { EAX, EBX, ECX, EDX };

/* --- Topology: APIC ids are fields of as many bits as each level needs --- */

static unsigned bits_for(uint32_t count)
{
    return count <= 1 ? 0 : 32 - __builtin_clz(count - 1);
}

static unsigned core_shift(const X86Topology *t)
{
    return bits_for(t->threads);
}

static unsigned die_shift(const X86Topology *t)
{
    return core_shift(t) + bits_for(t->cores);
}

static unsigned package_shift(const X86Topology *t)
{
    return die_shift(t) + bits_for(t->dies);
}

static uint32_t threads_per_package(const X86Topology *t)
{
    return t->threads * t->cores * t->dies;
}

uint32_t x86_topology_apic_id(const X86Topology *t, unsigned socket, unsigned die, unsigned core,
                              unsigned thread)
{
    return socket << package_shift(t) | die << die_shift(t) | core << core_shift(t) | thread;
}

/* Leaves 0xB and 0x1F: one subleaf a level. types: SMT 1, core 2, die 5. */
static void topology_leaf(const X86Cpu *cpu, uint32_t subleaf, bool with_dies, uint32_t *out)
{
    const X86Topology *t = &cpu->topology;
    bool has_dies = with_dies && t->dies > 1;

    out[ECX] = subleaf & 0xff;
    out[EDX] = cpu->apic_id;
    if (subleaf == 0) {
        out[EAX] = core_shift(t);
        out[EBX] = t->threads;
        out[ECX] |= 1 << 8;
    } else if (subleaf == 1) {
        out[EAX] = has_dies ? die_shift(t) : package_shift(t);
        out[EBX] = has_dies ? t->threads * t->cores : threads_per_package(t);
        out[ECX] |= 2 << 8;
    } else if (subleaf == 2 && has_dies) {
        out[EAX] = package_shift(t);
        out[EBX] = threads_per_package(t);
        out[ECX] |= 5 << 8;
    }
}

/* --- Caches: one description for all leaves --- */

typedef struct Cache {
    uint8_t type; /* 1 data, 2 instruction, 3 unified */
    uint8_t level;
    uint16_t ways;
    uint32_t size; /* bytes */
    bool inclusive;
} Cache;

#define LINE 64u

static const Cache caches[] = {
    { 1, 1, 8, 32 * KiB, false },
    { 2, 1, 8, 32 * KiB, false },
    { 3, 2, 8, 512 * KiB, false },
    { 3, 3, 16, 16 * MiB, true },
};

static uint32_t sets(const Cache *c)
{
    return c->size / (c->ways * LINE);
}

/* L3 is the die's, the others the core's. */
static uint32_t sharing(const X86Topology *t, const Cache *c)
{
    return 1u << (c->level == 3 ? die_shift(t) : core_shift(t));
}

static void cache_leaf_intel(const X86Cpu *cpu, uint32_t subleaf, uint32_t *out)
{
    if (subleaf >= ARRAY_LEN(caches)) {
        return;
    }
    const X86Topology *t = &cpu->topology;
    const Cache *c = &caches[subleaf];
    uint32_t cores = 1u << (package_shift(t) - core_shift(t));
    out[EAX] = c->type | c->level << 5 | 1 << 8 | (sharing(t, c) - 1) << 14 |
               (MIN_OF(cores, 64) - 1) << 26;
    out[EBX] = (LINE - 1) | (c->ways - 1u) << 22;
    out[ECX] = sets(c) - 1;
    out[EDX] = c->inclusive ? 2 : 0;
}

static void cache_leaf_amd(const X86Cpu *cpu, uint32_t subleaf, uint32_t *out)
{
    if (subleaf >= ARRAY_LEN(caches)) {
        return;
    }
    const Cache *c = &caches[subleaf];
    out[EAX] = c->type | c->level << 5 | 1 << 8 | (sharing(&cpu->topology, c) - 1) << 14;
    out[EBX] = (LINE - 1) | (c->ways - 1u) << 22;
    out[ECX] = sets(c) - 1;
    out[EDX] = c->inclusive ? 2 : 0;
}

/* AMD's encoding of associativity in 0x80000006. */
static uint32_t amd_ways(uint32_t ways)
{
    return ways >= 16 ? 8 : ways >= 8 ? 6 : ways >= 4 ? 4 : ways;
}

/* --- Leaves --- */

static void vendor_words(const X86Cpu *cpu, uint32_t *out)
{
    memcpy(&out[EBX], cpu->vendor, 4);
    memcpy(&out[EDX], cpu->vendor + 4, 4);
    memcpy(&out[ECX], cpu->vendor + 8, 4);
}

static uint32_t signature(const X86Cpu *cpu)
{
    uint32_t base_family = MIN_OF(cpu->family, 0xf);
    return cpu->stepping | (cpu->cpu_model & 0xf) << 4 | base_family << 8 |
           (cpu->cpu_model >> 4) << 16 | (cpu->family - base_family) << 20;
}

static bool apic_visible(const X86Cpu *cpu)
{
    return cpu->apic && x86_apic_is_enabled(cpu->apic);
}

static void leaf_1(const X86Cpu *cpu, uint32_t *out)
{
    uint32_t logical = threads_per_package(&cpu->topology);
    out[EAX] = signature(cpu);
    out[EBX] = (cpu->apic_id & 0xff) << 24 | (LINE / 8) << 8;
    out[ECX] = cpu->features[X86_CPUID_1_ECX];
    out[EDX] = cpu->features[X86_CPUID_1_EDX];
    if (cpu->state.cr4 & X86_CR4_OSXSAVE) {
        out[ECX] |= 1u << 27;
    }
    if (!apic_visible(cpu)) {
        out[EDX] &= ~(1u << 9);
    }
    if (logical > 1) {
        /* A power of two: what IDs are made of, SDM volume 3 section 8.9.3.1. */
        out[EBX] |= MIN_OF(1u << package_shift(&cpu->topology), 255) << 16;
        out[EDX] |= 1u << 28;
    } else {
        out[EDX] &= ~(1u << 28);
    }
}

static void leaf_7(const X86Cpu *cpu, uint32_t subleaf, uint32_t *out)
{
    if (subleaf == 0) {
        out[EAX] = cpu->features[X86_CPUID_7_1_EAX] ? 1 : 0;
        out[EBX] = cpu->features[X86_CPUID_7_0_EBX];
        out[ECX] = cpu->features[X86_CPUID_7_0_ECX];
        out[EDX] = cpu->features[X86_CPUID_7_0_EDX];
        if (cpu->state.cr4 & X86_CR4_PKE) {
            out[ECX] |= 1u << 4;
        }
    } else if (subleaf == 1) {
        out[EAX] = cpu->features[X86_CPUID_7_1_EAX];
    }
}

static void leaf_d(const X86Cpu *cpu, uint32_t subleaf, uint32_t *out)
{
    uint64_t all = x86_xcr0_supported(cpu);

    if (!x86_has_feature(cpu, X86_CPUID_1_ECX, 26)) {
        return;
    }
    if (subleaf == 0) {
        out[EAX] = (uint32_t)all;
        out[EDX] = all >> 32;
        out[EBX] = x86_xsave_area_size(cpu->state.xcr0);
        out[ECX] = x86_xsave_area_size(all);
    } else if (subleaf == 1) {
        out[EAX] = cpu->features[X86_CPUID_D_1_EAX];
        if (out[EAX] & 0xa) { /* XSAVEC or XSAVES */
            out[EBX] = x86_xsave_compacted_size(cpu->state.xcr0 | cpu->state.xss);
        }
    } else if (subleaf < 64 && (all >> subleaf & 1)) {
        X86XsaveComponent c;
        x86_xsave_component(subleaf, &c);
        out[EAX] = c.size;
        out[EBX] = c.offset;
        out[ECX] = c.aligned ? 2 : 0;
    }
}

/*
 * TSC frequency as crystal * numerator / denominator. Kernels multiply the crystal's kHz with the
 * numerator in 32 bits, so that it must stay small; the best fraction within that is taken.
 */
static void leaf_15(const X86Cpu *cpu, uint32_t *out)
{
    uint64_t crystal_khz = X86_APIC_TIMER_HZ / 1000, best_error = ~UINT64_C(0);
    uint64_t tsc = cpu->tsc_hz;

    for (uint64_t den = 1; den <= 1000; den++) {
        uint64_t num = (tsc * den + X86_APIC_TIMER_HZ / 2) / X86_APIC_TIMER_HZ;
        if (num * crystal_khz > UINT32_MAX || !num) {
            break;
        }
        uint64_t got = X86_APIC_TIMER_HZ * num / den;
        uint64_t error = got > tsc ? got - tsc : tsc - got;
        if (error < best_error) {
            best_error = error;
            out[EAX] = (uint32_t)den;
            out[EBX] = (uint32_t)num;
        }
    }
    out[ECX] = X86_APIC_TIMER_HZ;
}

static void leaf_16(const X86Cpu *cpu, uint32_t *out)
{
    uint32_t mhz = (uint32_t)(cpu->tsc_hz / 1000000);
    out[EAX] = MIN_OF(mhz, 0xffff);
    out[EBX] = out[EAX];
    out[ECX] = 100;
}

static void basic_leaf(const X86Cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t *out)
{
    switch (leaf) {
    case 0:
        out[EAX] = cpu->cpuid_level;
        vendor_words(cpu, out);
        break;
    case 1:
        leaf_1(cpu, out);
        break;
    case 2:
        out[EAX] = 0x0000ff01; /* one round; descriptor 0xff: see leaf 4 */
        break;
    case 4:
        if (!cpu->is_amd) {
            cache_leaf_intel(cpu, subleaf, out);
        }
        break;
    case 5:
        if (x86_has_feature(cpu, X86_CPUID_1_ECX, 3)) {
            out[EAX] = LINE;
            out[EBX] = LINE;
            out[ECX] = 3; /* extensions; interrupts end the wait */
        }
        break;
    case 6:
        out[EAX] = cpu->features[X86_CPUID_6_EAX];
        break;
    case 7:
        leaf_7(cpu, subleaf, out);
        break;
    case 0xb:
        topology_leaf(cpu, subleaf, false, out);
        break;
    case 0xd:
        leaf_d(cpu, subleaf, out);
        break;
    case 0x15:
        leaf_15(cpu, out);
        break;
    case 0x16:
        leaf_16(cpu, out);
        break;
    case 0x1f:
        topology_leaf(cpu, subleaf, true, out);
        break;
    default:
        break;
    }
}

static void leaf_80000008(const X86Cpu *cpu, uint32_t *out)
{
    bool long_mode = x86_has_feature(cpu, X86_CPUID_80000001_EDX, 29);
    out[EAX] = long_mode ? cpu->phys_bits | 48 << 8 : 32 | 32 << 8;
    out[EBX] = cpu->features[X86_CPUID_80000008_EBX];
    if (cpu->is_amd && threads_per_package(&cpu->topology) > 1) {
        out[ECX] = (threads_per_package(&cpu->topology) - 1) | package_shift(&cpu->topology) << 12;
    }
}

static void leaf_8000001e(const X86Cpu *cpu, uint32_t *out)
{
    const X86Topology *t = &cpu->topology;
    uint32_t core = cpu->apic_id >> core_shift(t) & ((1u << bits_for(t->cores)) - 1);
    uint32_t node = cpu->apic_id >> die_shift(t);
    out[EAX] = cpu->apic_id;
    out[EBX] = core | (t->threads - 1) << 8;
    out[ECX] = node | (t->dies - 1) << 8;
}

static void extended_leaf(const X86Cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t *out)
{
    switch (leaf) {
    case 0x80000000:
        out[EAX] = cpu->cpuid_xlevel;
        if (cpu->is_amd) {
            vendor_words(cpu, out);
        }
        break;
    case 0x80000001:
        out[EAX] = cpu->is_amd ? signature(cpu) : 0;
        out[ECX] = cpu->features[X86_CPUID_80000001_ECX];
        out[EDX] = cpu->features[X86_CPUID_80000001_EDX];
        if (cpu->is_amd) {
            /* AMD repeats the basic bits here, but for those that mean something else. */
            out[EDX] |= cpu->features[X86_CPUID_1_EDX] & 0x0183f3ffu;
            if (!apic_visible(cpu)) {
                out[EDX] &= ~(1u << 9);
            }
            if (threads_per_package(&cpu->topology) > 1) {
                out[ECX] |= 2; /* CmpLegacy */
            }
        }
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
        char brand[49] = { 0 };
        g_strlcpy(brand, cpu->model_id ? cpu->model_id : "", sizeof(brand));
        memcpy(out, brand + 16 * (leaf - 0x80000002), 16);
        break;
    }
    case 0x80000005:
        if (cpu->is_amd) {
            out[ECX] = caches[0].size / KiB << 24 | caches[0].ways << 16 | 1 << 8 | LINE;
            out[EDX] = caches[1].size / KiB << 24 | caches[1].ways << 16 | 1 << 8 | LINE;
        }
        break;
    case 0x80000006:
        out[ECX] =
            (uint32_t)(caches[2].size / KiB) << 16 | amd_ways(caches[2].ways) << 12 | 1 << 8 | LINE;
        if (cpu->is_amd) {
            out[EDX] = (uint32_t)(caches[3].size / (512 * KiB)) << 18 |
                       amd_ways(caches[3].ways) << 12 | 1 << 8 | LINE;
        }
        break;
    case 0x80000007:
        out[EDX] = cpu->features[X86_CPUID_80000007_EDX];
        break;
    case 0x80000008:
        leaf_80000008(cpu, out);
        break;
    case 0x8000001d:
        if (x86_has_feature(cpu, X86_CPUID_80000001_ECX, 22)) {
            cache_leaf_amd(cpu, subleaf, out);
        }
        break;
    case 0x8000001e:
        if (x86_has_feature(cpu, X86_CPUID_80000001_ECX, 22)) {
            leaf_8000001e(cpu, out);
        }
        break;
    default:
        break;
    }
}

void x86_cpuid_get(X86Cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    memset(out, 0, 4 * sizeof(out[0]));
    if (leaf == HYPERVISOR_BASE && x86_has_feature(cpu, X86_CPUID_1_ECX, 31)) {
        out[EAX] = HYPERVISOR_BASE;
        memcpy(&out[EBX], HYPERVISOR_SIGNATURE, 12);
    } else if (leaf >= EXTENDED_BASE && leaf <= cpu->cpuid_xlevel) {
        extended_leaf(cpu, leaf, subleaf, out);
    } else if (leaf <= cpu->cpuid_level) {
        basic_leaf(cpu, leaf, subleaf, out);
    } else if (!cpu->is_amd) {
        /* Intel answers what is out of range with the highest basic leaf. */
        basic_leaf(cpu, cpu->cpuid_level, subleaf, out);
    }
}

void x86_cpuid(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    uint32_t out[4];
    x86_park_fpu(cpu);
    x86_cpuid_get(cpu, (uint32_t)s->gpr[X86_RAX], (uint32_t)s->gpr[X86_RCX], out);
    s->gpr[X86_RAX] = out[EAX];
    s->gpr[X86_RBX] = out[EBX];
    s->gpr[X86_RCX] = out[ECX];
    s->gpr[X86_RDX] = out[EDX];
}
