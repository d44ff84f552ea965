/*
 * The accelerator "jit" (also "tcg"): its object, and a host thread for each vCPU.
 */
#include "accel/jit/jit.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "accel/icount.h"
#include "accel/jit/jit-internal.h"
#include "base/log.h"
#include "base/thread.h"
#include "cpu/debug.h"
#include "event/lock.h"
#include "object/property.h"
#include "object/runstate.h"
#include "schema/jit.h"

#define TYPE_JIT_ACCEL "jit-accel"
#define TYPE_TCG_ACCEL "tcg-accel"

typedef struct JitAccel {
    Accel parent;
    Jit *jit;
    bool perf_map, count_checks;
    int thread; /* JIT_THREAD_ */
} JitAccel;

/* How many threads run CPUs: there is no more to choose than other programs' word for it. */
enum { JIT_THREAD_MULTI, JIT_THREAD_SINGLE };
static const char *const thread_names[] = { "multi", "single" };
static const EnumDesc thread_desc = { "JitThreads", thread_names, NULL, ARRAY_LEN(thread_names) };
static const ValueType value_type_jit_threads = {
    .kind = VALUE_ENUM,
    .name = "JitThreads",
    .size = sizeof(int),
    .enumeration = &thread_desc,
};

static JitAccel *jit_accel(Accel *accel)
{
    return (JitAccel *)accel;
}

/* After a raise: functions on the CPU's own stack won't return. AddressSanitizer only knows the
 * stacks of threads, so it has to be told. */
void jit_forget_frames(JitCpu *j)
{
#ifdef __SANITIZE_ADDRESS__
    uint8_t *end = (uint8_t *)j;
    x86_park_fpu(j->cpu);
    ASAN_UNPOISON_MEMORY_REGION(end - JIT_STACK_BYTES, JIT_STACK_BYTES);
#endif
}

/* --- vCPU threads --- */

static void *vcpu_thread(void *opaque)
{
    Cpu *cpu = opaque;
    JitCpu *j = cpu->accel;

    cpu_thread_enter(cpu);
    machine_lock();
    while (cpu_wait_for_work(cpu)) {
        if (j->jit->icount) {
            j->icount_turn = j->icount_left = (int64_t)icount_begin(cpu);
            if (!j->icount_turn) {
                continue;
            }
        }
        machine_unlock();
        jit_run(j);
        machine_lock();
        if (j->jit->icount) {
            uint64_t executed = (uint64_t)(j->icount_turn - j->icount_left);
            j->icount_turn = j->icount_left = 0;
            icount_end(cpu, executed);
        }
        if (cpu->debug_stop.reason != CPU_STOP_NONE) {
            cpu_debug_report(cpu);
        }
    }
    machine_unlock();
    cpu_thread_leave(cpu);
    return NULL;
}

static uint64_t icount_in_flight(Cpu *cpu)
{
    const JitCpu *j = cpu->accel;
    return (uint64_t)(j->icount_turn - j->icount_left - jit_icount_unrun(j));
}

static void icount_shorten(Cpu *cpu, uint64_t left)
{
    JitCpu *j = cpu->accel;
    int64_t cut = j->icount_left + jit_icount_unrun(j) - (int64_t)left;
    if (cut > 0) {
        j->icount_left -= cut;
        j->icount_turn -= cut;
    }
}

static void jit_accel_kick(Cpu *cpu)
{
    if (cpu->accel) {
        jit_kick(cpu->accel);
    }
}

static void jit_accel_kick_vcpu(Accel *accel, Cpu *cpu)
{
    jit_accel_kick(cpu);
}

static bool jit_accel_create_vcpu(Accel *accel, Cpu *cpu, Error **errp)
{
    JitAccel *a = jit_accel(accel);
    X86Cpu *x86 = (X86Cpu *)object_cast(&cpu->parent.parent, TYPE_X86_CPU);
    if (a->thread == JIT_THREAD_SINGLE && cpu->index > 0) {
        error_set(errp, "thread=single: each of several CPUs has a thread; use thread=multi");
        return false;
    }
    JitCpu *j = jit_cpu_create(a->jit, x86, errp);
    if (!j) {
        return false;
    }
    if (!a->jit->listening) {
        jit_watch_memory(a->jit, cpu->memory);
    }
    cpu->kick = jit_accel_kick;
    if (a->jit->icount) {
        x86->tsc_from_clock = true;
        cpu->before_idle = icount_idle;
        j->random = (uint64_t)cpu->index << 32;
    }
    int err = pthread_create(&cpu->thread, NULL, vcpu_thread, cpu);
    if (err) {
        error_set_errno(errp, err, "accelerator 'jit': no thread for CPU %d", cpu->index);
        cpu->kick = NULL;
        jit_cpu_destroy(j);
        return false;
    }
    cpu->thread_created = true;
    g_autofree char *name = g_strdup_printf("CPU %d/JIT", cpu->index);
    thread_set_name(cpu->thread, name);
    return true;
}

static void jit_accel_destroy_vcpu(Accel *accel, Cpu *cpu)
{
    if (!cpu->thread_created) {
        return;
    }
    cpu_end_thread(cpu);
    machine_unlock();
    pthread_join(cpu->thread, NULL);
    machine_lock();
    cpu->thread_created = false;
    cpu->kick = NULL;
    JitAccel *a = jit_accel(accel);
    jit_cpu_destroy(cpu->accel);
    if (!a->jit->cpus->len) {
        jit_unwatch_memory(a->jit); /* the address space may go before the accelerator */
    }
}

static void jit_accel_state_changed(Accel *accel, Cpu *cpu)
{
    JitCpu *j = cpu->accel;
    if (j) {
        __atomic_store_n(&j->ram_gone, true, __ATOMIC_SEQ_CST);
        jit_kick(j);
    }
}

static void jit_accel_update_debug(Accel *accel, Cpu *cpu)
{
    X86Cpu *x86 = (X86Cpu *)object_cast(&cpu->parent.parent, TYPE_X86_CPU);
    jit_update_breaks(jit_accel(accel)->jit);
    x86_update_mode(x86);                /* single steps */
    jit_accel_state_changed(accel, cpu); /* watchpoints: out of the TLB */
}

/* --- The machine --- */

static bool jit_accel_init_machine(Accel *accel, Object *machine, Error **errp)
{
    JitAccel *a = jit_accel(accel);
    static const VmVcpuHooks hooks = { .resume_all = cpu_resume_all, .pause_all = cpu_pause_all };

    a->jit = jit_create(errp);
    if (!a->jit) {
        return false;
    }
    a->jit->count_checks = a->count_checks;
    a->jit->icount = icount_enabled();
    if (a->jit->icount) {
        static const IcountHooks counting = { icount_in_flight, icount_shorten };
        icount_set_hooks(&counting);
    }
    if (a->perf_map) {
        char path[64];
        g_snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
        a->jit->perf_file = fopen(path, "w");
        if (!a->jit->perf_file) {
            error_set_errno(errp, errno, "accelerator 'jit': can't write '%s'", path);
            jit_destroy(a->jit);
            a->jit = NULL;
            return false;
        }
    }
    vm_set_vcpu_hooks(&hooks);
    if (a->jit->perf_file) {
        setvbuf(a->jit->perf_file, NULL, _IOLBF, 0); /* perf may look at any time */
    }
    log_set_listener(jit_log_changed, a->jit);
    jit_log_changed(a->jit);
    return true;
}

static void jit_accel_finish_machine(Accel *accel)
{
    JitAccel *a = jit_accel(accel);
    vm_set_vcpu_hooks(NULL);
    log_set_listener(NULL, NULL);
    icount_set_hooks(NULL);
    if (a->jit) {
        jit_destroy(a->jit);
        a->jit = NULL;
    }
}

/* --- Monitor --- */

static JitAccel *current(void)
{
    Accel *accel = accel_current();
    bool ours = accel && object_dynamic_cast(&accel->parent, TYPE_JIT_ACCEL);
    return ours ? jit_accel(accel) : NULL;
}

bool jit_counters_visit(int cpu_index, JitCounterFn *fn, void *opaque)
{
    JitAccel *a = current();
    JitCounters sum = { 0 };
    bool found = false;
    if (!a) {
        return false;
    }
    pthread_mutex_lock(&a->jit->lock);
    for (unsigned i = 0; i < a->jit->cpus->len; i++) {
        JitCpu *j = g_ptr_array_index(a->jit->cpus, i);
        if (cpu_index < 0 || j->cpu->parent.index == cpu_index) {
            found = true;
#define X(name, help) sum.name += __atomic_load_n(&j->counters.name, __ATOMIC_RELAXED);
            JIT_COUNTERS(X)
#undef X
        }
    }
    pthread_mutex_unlock(&a->jit->lock);
    if (!found) {
        return false;
    }
#define X(name, help) fn(#name, help, sum.name, opaque);
    JIT_COUNTERS(X)
#undef X
    return true;
}

typedef struct StatVisit {
    AccelStatFn *fn;
    void *opaque;
} StatVisit;

static void visit_stat(const char *name, const char *help, uint64_t value, void *opaque)
{
    const StatVisit *v = opaque;
    StatsSchemaValue what = { .name = (char *)(uintptr_t)name, .type = STATS_TYPE_CUMULATIVE };
    v->fn(&what, &value, 1, v->opaque);
}

/* The machine's are the sums over its CPUs. */
static bool jit_accel_stats(Accel *accel, Cpu *cpu, AccelStatFn *fn, void *opaque, Error **errp)
{
    StatVisit v = { fn, opaque };
    jit_counters_visit(cpu ? cpu->index : -1, visit_stat, &v);
    return true;
}

static void print_line(GString *out, const char *help, uint64_t value)
{
    g_string_append_printf(out, "%-50s %14" PRIu64 "\n", help, value);
}

typedef struct PrintCounters {
    GString *out;
    bool checks; /* are counted */
    uint64_t n_checks, n_resolves;
} PrintCounters;

static void print_counter(const char *name, const char *help, uint64_t value, void *opaque)
{
    PrintCounters *p = opaque;
    if (!strcmp(name, "tlb_checks")) {
        p->n_checks = value;
        if (!p->checks) {
            g_string_append_printf(p->out, "%-50s %14s (-accel jit,count-checks=on)\n", help,
                                   "not counted");
            return;
        }
    }
    p->n_resolves = strcmp(name, "resolves") ? p->n_resolves : value;
    print_line(p->out, help, value);
}

void jit_print_info(GString *out)
{
    JitAccel *a = current();
    if (!a) {
        g_string_append(out, "The machine's accelerator isn't jit\n");
        return;
    }
    Jit *jit = a->jit;
    pthread_mutex_lock(&jit->lock);
    size_t hot = (size_t)(jit->hot - jit->rw), cold = (size_t)(jit->cold - jit->cold_start);
    unsigned blocks = jit->by_code->len, pages = 0;
    for (unsigned h = 0; h < ARRAY_LEN(jit->pages); h++) {
        for (const JitPage *p = jit->pages[h]; p; p = p->hash_next) {
            pages += p->blocks != NULL;
        }
    }
    pthread_mutex_unlock(&jit->lock);
    print_line(out, "code cache: blocks", blocks);
    print_line(out, "code cache: guest pages with translated code", pages);
    print_line(out, "code cache: bytes of hot code", hot);
    print_line(out, "... of", JIT_HOT_BYTES);
    print_line(out, "code cache: bytes of cold code", cold);
    print_line(out, "... of", JIT_COLD_BYTES);
    PrintCounters p = { .out = out, .checks = jit->count_checks };
    jit_counters_visit(-1, print_counter, &p);
    if (p.checks) {
        print_line(out, "TLB hits", p.n_checks > p.n_resolves ? p.n_checks - p.n_resolves : 0);
    }
}

bool qmp_x_query_jit(HumanReadableText *ret, Error **errp)
{
    if (!current()) {
        error_set(errp, "The machine's accelerator isn't jit");
        return false;
    }
    GString *out = g_string_new(NULL);
    jit_print_info(out);
    ret->human_readable_text = g_string_free(out, FALSE);
    return true;
}

static const Field jit_accel_properties[] = {
    PROP_BOOL("perf-map", JitAccel, perf_map, false,
              .help = "write /tmp/perf-PID.map, so that perf names translated code"),
    PROP_BOOL("count-checks", JitAccel, count_checks, false,
              .help = "count TLB hits for 'info jit'; costs some speed"),
    PROP_ENUM("thread", JitAccel, thread, value_type_jit_threads, JIT_THREAD_MULTI,
              .help = "a thread for each CPU; single is for one CPU only"),
    {},
};

static void jit_accel_class_init(ObjectClass *klass, const void *data)
{
    AccelClass *ac = accel_class_cast(klass);
    ac->name = "jit";
    ac->init_machine = jit_accel_init_machine;
    ac->finish_machine = jit_accel_finish_machine;
    ac->create_vcpu = jit_accel_create_vcpu;
    ac->destroy_vcpu = jit_accel_destroy_vcpu;
    ac->kick_vcpu = jit_accel_kick_vcpu;
    ac->state_changed = jit_accel_state_changed;
    ac->update_debug = jit_accel_update_debug;
    ac->stats = jit_accel_stats;
    ac->stats_provider = STATS_PROVIDER_JIT;
    ac->runs_guest_code = true;
}

static const TypeInfo jit_accel_type = {
    .name = TYPE_JIT_ACCEL,
    .parent = TYPE_ACCEL,
    .help = "dynamic translation of x86-64 to x86-64",
    .instance_size = sizeof(JitAccel),
    .properties = jit_accel_properties,
    .class_init = jit_accel_class_init,
};
OBJECT_TYPE(jit_accel, jit_accel_type)

static const TypeInfo tcg_accel_type = {
    .name = TYPE_TCG_ACCEL,
    .parent = TYPE_JIT_ACCEL,
    .help = "another name for jit",
};
OBJECT_TYPE(tcg_accel, tcg_accel_type)
