/* Descriptors and stacks: what segment.c, far.c, task.c and exception.c share. */
#ifndef CPU_X86_SEGMENT_INTERNAL_H
#define CPU_X86_SEGMENT_INTERNAL_H

#include "cpu/x86/exception.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"

/* Types of system descriptors (S = 0), SDM volume 3 table 3-2. */
enum {
    X86_SYS_TSS16 = 1,
    X86_SYS_LDT = 2,
    X86_SYS_TSS16_BUSY = 3,
    X86_SYS_CALL_GATE16 = 4,
    X86_SYS_TASK_GATE = 5,
    X86_SYS_INT_GATE16 = 6,
    X86_SYS_TRAP_GATE16 = 7,
    X86_SYS_TSS = 9, /* 32-bit, or 64-bit in long mode */
    X86_SYS_TSS_BUSY = 11,
    X86_SYS_CALL_GATE = 12,
    X86_SYS_INT_GATE = 14,
    X86_SYS_TRAP_GATE = 15,
};

/* Bits of a code or data type. */
#define X86_TYPE_CODE       8u
#define X86_TYPE_CONFORMING 4u /* of code */
#define X86_TYPE_EXPAND     4u /* of data: down */
#define X86_TYPE_READABLE   2u /* of code */
#define X86_TYPE_WRITABLE   2u /* of data */
#define X86_TYPE_ACCESSED   1u

#define X86_SELECTOR_TI  4u
#define X86_SELECTOR_RPL 3u

typedef struct X86Descriptor {
    uint32_t low, high;
    uint64_t addr; /* linear address it was read from */
} X86Descriptor;

static inline bool x86_selector_is_null(uint16_t selector)
{
    return !(selector & ~X86_SELECTOR_RPL);
}

static inline uint64_t x86_desc_base(const X86Descriptor *d)
{
    return (d->low >> 16) | (d->high & 0xff) << 16 | (d->high & 0xff000000u);
}

static inline uint32_t x86_desc_limit(const X86Descriptor *d)
{
    uint32_t limit = (d->low & 0xffff) | (d->high & 0xf0000u);
    return d->high & 0x800000u ? limit << 12 | 0xfff : limit;
}

/* In X86Segment.access's layout. */
static inline uint32_t x86_desc_access(const X86Descriptor *d)
{
    return d->high >> 8 & 0xf0ffu;
}

static inline unsigned x86_desc_type(const X86Descriptor *d)
{
    return d->high >> 8 & 0xf;
}

static inline bool x86_desc_is_system(const X86Descriptor *d)
{
    return !(d->high >> 12 & 1);
}

static inline unsigned x86_desc_dpl(const X86Descriptor *d)
{
    return d->high >> 13 & 3;
}

static inline bool x86_desc_present(const X86Descriptor *d)
{
    return d->high >> 15 & 1;
}

static inline bool x86_desc_is_code(const X86Descriptor *d)
{
    return !x86_desc_is_system(d) && (x86_desc_type(d) & X86_TYPE_CODE);
}

static inline bool x86_desc_is_conforming(const X86Descriptor *d)
{
    return x86_desc_is_code(d) && (x86_desc_type(d) & X86_TYPE_CONFORMING);
}

static inline bool x86_desc_is_writable_data(const X86Descriptor *d)
{
    return !x86_desc_is_system(d) &&
           (x86_desc_type(d) & (X86_TYPE_CODE | X86_TYPE_WRITABLE)) == X86_TYPE_WRITABLE;
}

static inline bool x86_desc_is_long(const X86Descriptor *d)
{
    return d->high >> 21 & 1;
}

static inline bool x86_desc_is_big(const X86Descriptor *d)
{
    return d->high >> 22 & 1;
}

/* EXT in error codes raised while an external event or an exception is being delivered. */
static inline uint32_t x86_ext(const X86State *s)
{
    return s->exception_delivering >= 0 && s->exception_external ? 1 : 0;
}

static inline uint32_t x86_selector_error(const X86State *s, uint16_t selector)
{
    return (selector & 0xfffcu) | x86_ext(s);
}

/* Read from GDT or LDT; false if the selector is null or outside its table. Raises #PF. */
bool x86_desc_read(X86Cpu *cpu, uint16_t selector, X86Descriptor *d);
/* As above; outside raises vector with the selector. */
void x86_desc_read_or_raise(X86Cpu *cpu, uint16_t selector, X86Descriptor *d, unsigned vector);
/* Bytes 8-15 of a system descriptor in long mode: base 63:32; raises #GP if the type field there
 * is not zero. */
uint32_t x86_desc_read_high(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d);
/* Set the accessed bit in memory and in *d, if it isn't. */
void x86_desc_set_accessed(X86Cpu *cpu, X86Descriptor *d);

/* Fill a segment register from a descriptor that passed all checks. No mode update. */
void x86_segment_from_desc(X86Segment *seg, uint16_t selector, const X86Descriptor *d);
/* Real and virtual-8086 mode. v86: limit and access are fixed; real mode keeps them. */
void x86_segment_set_real(X86State *s, unsigned seg, uint16_t selector);
void x86_segment_set_v86(X86State *s, unsigned seg, uint16_t selector);
/* An unusable data segment; dpl matters for SS in long mode. */
void x86_segment_set_null(X86State *s, unsigned seg, uint16_t selector, unsigned dpl);
/* CS after a transfer to code of privilege cpl: selector's RPL and DPL of SS are the caller's. */
void x86_segment_set_cs(X86Cpu *cpu, uint16_t selector, X86Descriptor *d, unsigned cpl);

/* --- Stacks: of the present one, or one that is about to become it --- */

typedef struct X86Stack {
    X86Segment seg;
    uint64_t sp;
    uint64_t mask;   /* of sp: 0xffff, 0xffffffff, ~0 */
    unsigned access; /* X86_ACCESS_* */
    uint32_t error;  /* of the #SS for what doesn't fit */
    bool long_mode;
} X86Stack;

void x86_stack_current(X86Cpu *cpu, X86Stack *st);
void x86_stack_push(X86Cpu *cpu, X86Stack *st, uint64_t value, unsigned size);
uint64_t x86_stack_pop(X86Cpu *cpu, X86Stack *st, unsigned size);
/* Read size bytes at offset above sp, which stays. */
uint64_t x86_stack_peek(X86Cpu *cpu, X86Stack *st, unsigned offset, unsigned size);
/* sp becomes (R|E)SP, the upper bits kept as the mask says. */
void x86_stack_commit_sp(X86Cpu *cpu, const X86Stack *st);

/* SS:ESP for a privilege level from the TSS, with the checks of an inter-privilege transfer (#TS,
 * #SS); not in long mode. */
void x86_stack_from_tss(X86Cpu *cpu, unsigned level, X86Stack *st, uint16_t *selector,
                        X86Descriptor *d);
/* RSP0-2 (index 0-2) or IST1-7 (index 4-10) of the 64-bit TSS. #TS, #SS. */
uint64_t x86_stack_from_tss64(X86Cpu *cpu, unsigned index);

/* --- Task switches: task.c --- */

typedef enum X86TaskSource { X86_TASK_JMP, X86_TASK_CALL, X86_TASK_IRET } X86TaskSource;
/* To the TSS that selector names, whose descriptor passed the checks of its way here. next_rip is
 * saved as EIP. */
void x86_task_switch(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d, X86TaskSource source,
                     uint64_t next_rip);
/* Checks a TSS descriptor named by a gate or far transfer; fault on wrong type is vector. */
void x86_task_check(X86Cpu *cpu, uint16_t selector, X86Descriptor *d, unsigned vector);

#endif
