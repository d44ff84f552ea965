/* The lookup of break- and watchpoints, for general registers only. */
#include "cpu/debug.h"

const CpuBreakpoint *cpu_breakpoint_find(const Cpu *cpu, uint64_t addr, uint64_t len,
                                         unsigned kinds)
{
    for (unsigned i = 0; i < cpu->breakpoints->len; i++) {
        const CpuBreakpoint *b = cpu->breakpoints->pdata[i];
        /* by distance: neither range may wrap around into a match */
        if ((kinds >> b->kind & 1) && (addr - b->addr < b->len || b->addr - addr < len)) {
            return b;
        }
    }
    return NULL;
}
