/* Port I/O and the TSS's permission bitmap. SDM volume 1 chapter 19. */
#include "cpu/x86/exception.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/system.h"

#define TSS_IO_MAP_BASE 0x66u
#define TSS_MIN_LIMIT   0x67u

/* The bitmap is read as two bytes, so that an access across a byte boundary needs no second look;
 * the byte behind the map must exist. */
static bool bitmap_allows(X86Cpu *cpu, unsigned port, unsigned size)
{
    const X86State *s = &cpu->state;
    bool large = s->tr.access & 8; /* 32- or 64-bit TSS */

    if (s->tr.unusable || !large || s->tr.limit < TSS_MIN_LIMIT) {
        return false;
    }
    uint32_t map =
        (uint32_t)x86_linear_load(cpu, s->tr.base + TSS_IO_MAP_BASE, 2, X86_ACCESS_IMPLICIT);
    uint32_t at = map + port / 8;
    if (at + 1 > s->tr.limit) {
        return false;
    }
    uint64_t bits = x86_linear_load(cpu, s->tr.base + at, 2, X86_ACCESS_IMPLICIT);
    return !(bits >> (port & 7) & ((1u << size) - 1));
}

void x86_check_io(X86Cpu *cpu, unsigned port, unsigned size)
{
    const X86State *s = &cpu->state;
    bool privileged = !(s->mode & X86_MODE_VM86) && x86_cpl(s) <= (s->rflags & X86_IOPL) >> 12;
    if ((s->mode & X86_MODE_PE) && !privileged && !bitmap_allows(cpu, port, size)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

uint32_t x86_in(X86Cpu *cpu, unsigned port, unsigned size)
{
    uint64_t value = 0;
    x86_check_io(cpu, port, size);
    x86_note_io_access(cpu, port, size);
    x86_park_fpu(cpu);
    if (address_space_load(cpu->parent.io, port, size, MEMTXATTRS_UNSPECIFIED, &value) !=
        MEMTX_OK) {
        value = ~UINT64_C(0) >> (64 - 8 * size); /* nobody drives the bus */
    }
    return (uint32_t)value;
}

void x86_out(X86Cpu *cpu, unsigned port, unsigned size, uint32_t value)
{
    x86_check_io(cpu, port, size);
    x86_note_io_access(cpu, port, size);
    x86_park_fpu(cpu);
    (void)address_space_store(cpu->parent.io, port, size, MEMTXATTRS_UNSPECIFIED, value);
}
