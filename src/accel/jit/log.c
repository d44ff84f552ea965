/* What the translator writes to the debug log (-d) while code runs. */
#include <inttypes.h>

#include "accel/jit/jit-internal.h"
#include "base/log.h"
#include "object/runstate.h"

void jit_log_entry(JitCpu *j, const JitBlock *b, uint64_t linear)
{
    Cpu *cpu = &j->cpu->parent;
    if (!log_wants_address(linear)) {
        return;
    }
    log_item(LOG_EXEC, "Trace %d: %p [%08x/%016" PRIx64 "]%s\n", cpu->index,
             (const void *)b->indirect, b->mode, linear,
             b->variant == JIT_VARIANT_CAREFUL ? " careful" : "");
    if (log_enabled(LOG_CPU)) {
        g_autoptr(GString) text = g_string_new(NULL);
        cpu_class_of(cpu)->dump(cpu, CPU_DUMP_REGISTERS, text);
        log_printf("CPU#%d\n%s", cpu->index, text->str);
    }
}

void jit_log_fill(JitCpu *j, uint64_t linear, const X86Translation *t, bool write)
{
    log_printf("mmu: cpu %d %s %016" PRIx64 " -> %016" PRIx64 " page %" PRIu64 " KiB %c%c%c%s\n",
               j->cpu->parent.index, write ? "store" : "load", linear, t->phys, t->page_size / 1024,
               t->user ? 'u' : 's', t->writable ? 'w' : '-', t->rights & X86_RIGHT_EXEC ? 'x' : '-',
               t->global ? " global" : "");
}

void jit_log_flush(JitCpu *j, const char *what, uint64_t which)
{
    log_printf("mmu: cpu %d flush %s %016" PRIx64 " cr3=%016" PRIx64 "\n", j->cpu->parent.index,
               what, which, j->state->cr3);
}

void jit_log_discard(const JitBlock *b)
{
    log_printf("page: discard the block of page offset %03x, %u bytes, mode %08x: %p\n", b->offset,
               b->length, b->mode, (const void *)b->indirect);
}

/* Blocks that are chained, and what the jump caches know, must go before everything can be shown.
 */
void jit_log_changed(void *opaque)
{
    Jit *jit = opaque;
    bool unchained = log_enabled(LOG_NOCHAIN);
    if (unchained == __atomic_load_n(&jit->unchained, __ATOMIC_RELAXED)) {
        return;
    }
    vm_pause_vcpus();
    pthread_mutex_lock(&jit->lock);
    __atomic_store_n(&jit->unchained, unchained, __ATOMIC_RELAXED);
    jit_cache_flush(jit);
    pthread_mutex_unlock(&jit->lock);
    vm_resume_vcpus();
}
