/*
 * Debug events: breakpoints, single step. SDM volume 3 chapter 17. Compiled for general registers
 * only.
 */
#include "cpu/debug.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/mmu.h"

#define DR6_BS 0x4000u

/* R/W field of DR7. */
enum { DR7_EXECUTE = 0, DR7_WRITE = 1, DR7_IO = 2, DR7_ACCESS = 3 };

static bool armed(uint64_t dr7, unsigned i)
{
    return dr7 >> (2 * i) & 3;
}

static unsigned kind(uint64_t dr7, unsigned i)
{
    return dr7 >> (16 + 4 * i) & 3;
}

static unsigned length(uint64_t dr7, unsigned i)
{
    static const uint8_t bytes[] = { 1, 2, 8, 4 };
    return bytes[dr7 >> (18 + 4 * i) & 3];
}

/* DR6 bits of the breakpoints that [start, start+size) touches. Breakpoints that match but aren't
 * enabled are reported too, if any enabled one matches: section 17.2.3. */
static uint64_t matches(const X86State *s, uint64_t start, uint64_t size, unsigned kinds)
{
    uint64_t hit = 0;
    bool enabled = false;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t len = length(s->dr[7], i);
        uint64_t at = s->dr[i] & ~(len - 1);
        if ((kinds >> kind(s->dr[7], i) & 1) && at < start + size && start < at + len) {
            hit |= UINT64_C(1) << i;
            enabled |= armed(s->dr[7], i);
        }
    }
    return enabled ? hit : 0;
}

void x86_check_code_breakpoint(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    bool resume = s->rflags & X86_RF;
    /* It lasts for one instruction; a fault puts it into the frame anyway. */
    s->rflags &= ~(uint64_t)X86_RF;
    if (!(s->dr[7] & 0xff) || resume) {
        return;
    }
    uint64_t linear = s->mode & X86_MODE_CS64 ? s->rip : (uint32_t)(s->seg[X86_CS].base + s->rip);
    uint64_t hit = matches(s, linear, 1, 1u << DR7_EXECUTE);
    if (hit && s->interrupt_shadow != 2) {
        x86_raise_debug(cpu, hit, true);
    }
}

bool x86_page_has_breakpoint(const X86Cpu *cpu, uint64_t linear)
{
    const X86State *s = &cpu->state;
    if (cpu->parent.watching &&
        cpu_breakpoint_find(&cpu->parent, linear & ~UINT64_C(0xfff), 0x1000, CPU_WATCH_KINDS)) {
        return true;
    }
    if (LIKELY(!(s->dr[7] & 0xff))) {
        return false;
    }
    return matches(s, linear & ~UINT64_C(0xfff), 0x1000, 1u << DR7_WRITE | 1u << DR7_ACCESS) != 0;
}

/* The debugger's own watchpoints: the first that hits is the one reported. */
static void note_watchpoint(Cpu *cpu, uint64_t linear, unsigned size, bool is_write)
{
    const CpuBreakpoint *b = cpu_breakpoint_find(
        cpu, linear, size, is_write ? CPU_WATCH_KINDS_WRITE : CPU_WATCH_KINDS_READ);
    if (b && cpu->debug_stop.reason == CPU_STOP_NONE) {
        cpu->debug_stop.reason = CPU_STOP_WATCHPOINT;
        cpu->debug_stop.kind = b->kind;
        cpu->debug_stop.addr = b->addr;
        if (cpu->kick) {
            cpu->kick(cpu); /* no further than this instruction */
        }
    }
}

void x86_note_data_access(X86Cpu *cpu, uint64_t linear, unsigned size, bool is_write)
{
    X86State *s = &cpu->state;
    if (UNLIKELY(cpu->parent.watching)) {
        note_watchpoint(&cpu->parent, linear, size, is_write);
    }
    if (LIKELY(!(s->dr[7] & 0xff))) {
        return;
    }
    unsigned kinds = 1u << DR7_ACCESS | (is_write ? 1u << DR7_WRITE : 0);
    s->dr6_pending |= matches(s, linear, size, kinds);
}

void x86_note_io_access(X86Cpu *cpu, unsigned port, unsigned size)
{
    X86State *s = &cpu->state;
    if (UNLIKELY(s->dr[7] & 0xff) && (s->cr4 & X86_CR4_DE)) {
        s->dr6_pending |= matches(s, port, size, 1u << DR7_IO);
    }
}

void x86_end_of_step(X86Cpu *cpu, bool began_with_tf)
{
    X86State *s = &cpu->state;
    uint64_t bits = s->dr6_pending;
    if (began_with_tf) {
        bits |= DR6_BS;
    }
    /* After MOV SS and POP SS debug traps wait for the next instruction: section 6.8.3. */
    if (bits && s->interrupt_shadow != 2) {
        x86_raise_debug(cpu, bits, false);
    }
}
