/*
 * The virtual CPUs of the machine: their list, requests, work for their threads, pausing, waiting
 * for interrupts, and exclusive sections. Independent of architecture and accelerator.
 */
#include "cpu/cpu.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/accel.h"
#include "base/rcu.h"
#include "event/lock.h"
#include "object/runstate.h"

/* The machine's CPUs: written with the machine lock held while CPUs are made and removed; slots
 * below cpu_total never become NULL while other threads look (CPUs go when the machine goes). */
#define CPU_MAX 4096
static Cpu *cpus[CPU_MAX];
static unsigned cpu_total; /* atomic */

/* This thread's CPU. */
static __thread Cpu *current;

/* Pausing: signalled with the machine lock held when a vCPU has stopped or finished work. */
static GCond progress;

/* Exclusive sections. */
static GMutex exclusive_lock;
static GCond exclusive_cond;
static unsigned running; /* exclusive_lock */
static bool exclusive;   /* exclusive_lock to change; atomic */

unsigned cpu_count(void)
{
    return __atomic_load_n(&cpu_total, __ATOMIC_ACQUIRE);
}

Cpu *cpu_by_index(unsigned index)
{
    return index < cpu_count() ? cpus[index] : NULL;
}

Cpu *cpu_current(void)
{
    return current;
}

/* --- Waking --- */

static void futex(uint32_t *word, int op, uint32_t value)
{
    syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void wake(Cpu *cpu)
{
    __atomic_add_fetch(&cpu->wake, 1, __ATOMIC_SEQ_CST);
    futex(&cpu->wake, FUTEX_WAKE, INT_MAX);
}

static void kick(Cpu *cpu)
{
    if (cpu->kick) {
        cpu->kick(cpu);
    }
}

void cpu_request(Cpu *cpu, uint32_t bits)
{
    __atomic_fetch_or(&cpu->requests, bits, __ATOMIC_SEQ_CST);
    kick(cpu);
    wake(cpu);
}

/* --- Work --- */

static void queue_work(Cpu *cpu, CpuWork *work)
{
    ASSERT_MACHINE_LOCKED();
    work->next = NULL;
    if (!cpu->work_first) {
        cpu->work_last = &cpu->work_first;
    }
    *cpu->work_last = work;
    cpu->work_last = &work->next;
    cpu_request(cpu, CPU_REQUEST_EXIT);
}

void cpu_run_on(Cpu *cpu, void (*fn)(Cpu *cpu, void *opaque), void *opaque)
{
    CpuWork *work = g_new(CpuWork, 1);
    *work = (CpuWork){ .fn = fn, .opaque = opaque, .free = true };
    queue_work(cpu, work);
}

void cpu_run_exclusive(Cpu *cpu, void (*fn)(Cpu *cpu, void *opaque), void *opaque)
{
    CpuWork *work = g_new(CpuWork, 1);
    *work = (CpuWork){ .fn = fn, .opaque = opaque, .free = true, .exclusive = true };
    queue_work(cpu, work);
}

void cpu_run_on_wait(Cpu *cpu, void (*fn)(Cpu *cpu, void *opaque), void *opaque)
{
    ASSERT_MACHINE_LOCKED();
    if (cpu == current || !cpu->thread_created) {
        fn(cpu, opaque);
        return;
    }
    CpuWork work = { .fn = fn, .opaque = opaque };
    queue_work(cpu, &work);
    while (!work.done) {
        machine_cond_wait(&progress);
    }
}

static void run_work(Cpu *cpu)
{
    while (cpu->work_first) {
        CpuWork *work = cpu->work_first;
        cpu->work_first = work->next;
        bool ours = work->free;
        if (work->exclusive) {
            machine_unlock();
            cpu_exclusive_begin();
            machine_lock();
        }
        work->fn(cpu, work->opaque);
        if (work->exclusive) {
            machine_unlock();
            cpu_exclusive_end();
            machine_lock();
        }
        work->done = true;
        if (ours) {
            g_free(work);
        }
        g_cond_broadcast(&progress);
    }
}

/* --- The vCPU's thread --- */

void cpu_thread_enter(Cpu *cpu)
{
    current = cpu;
    rcu_thread_enter();
    MACHINE_LOCKED();
    cpu->thread_id = (pid_t)syscall(SYS_gettid);
    cpu->created = true;
    g_cond_broadcast(&progress);
}

void cpu_thread_leave(Cpu *cpu)
{
    MACHINE_LOCKED();
    run_work(cpu);
    cpu->created = false;
    cpu->stopped = true;
    current = NULL;
    g_cond_broadcast(&progress);
}

void cpu_end_thread(Cpu *cpu)
{
    ASSERT_MACHINE_LOCKED();
    cpu->unplug = true;
    cpu_request(cpu, CPU_REQUEST_EXIT);
}

static bool has_work(Cpu *cpu)
{
    CpuClass *klass = cpu_class_of(cpu);
    return !klass->has_work || klass->has_work(cpu);
}

bool cpu_wait_for_work(Cpu *cpu)
{
    ASSERT_MACHINE_LOCKED();
    for (;;) {
        uint32_t seen = __atomic_load_n(&cpu->wake, __ATOMIC_SEQ_CST);
        cpu_clear_request(cpu, CPU_REQUEST_EXIT);
        run_work(cpu);
        if (cpu->unplug) {
            return false;
        }
        if (cpu->stop) {
            if (!cpu->stopped) {
                cpu->stopped = true;
                g_cond_broadcast(&progress);
            }
        } else {
            cpu->stopped = false;
            if (!cpu->holds &&
                (!__atomic_load_n(&cpu->halted, __ATOMIC_SEQ_CST) || has_work(cpu))) {
                return true;
            }
            if (cpu->before_idle) {
                cpu->before_idle(cpu);
            }
        }
        machine_unlock();
        futex(&cpu->wake, FUTEX_WAIT, seen);
        machine_lock();
    }
}

void cpu_hold(Cpu *cpu)
{
    ASSERT_MACHINE_LOCKED();
    cpu->holds++;
    cpu_request(cpu, CPU_REQUEST_EXIT);
}

void cpu_release(Cpu *cpu)
{
    ASSERT_MACHINE_LOCKED();
    cpu->holds--;
    wake(cpu);
}

/* --- Pausing all --- */

void cpu_pause_all(void)
{
    Cpu *cpu;
    ASSERT_MACHINE_LOCKED();
    CPU_FOREACH(cpu)
    {
        cpu->stop = true;
        if (cpu == current || !cpu->created) {
            cpu->stopped = true;
        } else {
            cpu_request(cpu, CPU_REQUEST_EXIT);
        }
    }
    CPU_FOREACH(cpu)
    {
        while (!cpu->stopped && cpu->created) {
            machine_cond_wait(&progress);
        }
    }
}

void cpu_resume_all(void)
{
    Cpu *cpu;
    ASSERT_MACHINE_LOCKED();
    CPU_FOREACH(cpu)
    {
        if (cpu->held) {
            continue;
        }
        cpu->stop = false;
        cpu->debug_stop.reason = CPU_STOP_NONE; /* the debugger has seen it */
        if (cpu == current) {
            cpu->stopped = false;
        }
        wake(cpu);
    }
}

/* --- Exclusive sections --- */

void cpu_exec_begin(Cpu *cpu)
{
    g_mutex_lock(&exclusive_lock);
    while (exclusive) {
        g_cond_wait(&exclusive_cond, &exclusive_lock);
    }
    running++;
    g_mutex_unlock(&exclusive_lock);
}

void cpu_exec_end(Cpu *cpu)
{
    g_mutex_lock(&exclusive_lock);
    running--;
    g_cond_broadcast(&exclusive_cond);
    g_mutex_unlock(&exclusive_lock);
}

bool cpu_exclusive_wanted(void)
{
    return __atomic_load_n(&exclusive, __ATOMIC_SEQ_CST);
}

void cpu_exclusive_begin(void)
{
    g_mutex_lock(&exclusive_lock);
    while (exclusive) {
        g_cond_wait(&exclusive_cond, &exclusive_lock);
    }
    __atomic_store_n(&exclusive, true, __ATOMIC_SEQ_CST);
    Cpu *cpu;
    CPU_FOREACH(cpu)
    {
        if (cpu != current) {
            kick(cpu);
        }
    }
    while (running) {
        g_cond_wait(&exclusive_cond, &exclusive_lock);
    }
    g_mutex_unlock(&exclusive_lock);
}

void cpu_exclusive_end(void)
{
    g_mutex_lock(&exclusive_lock);
    __atomic_store_n(&exclusive, false, __ATOMIC_SEQ_CST);
    g_cond_broadcast(&exclusive_cond);
    g_mutex_unlock(&exclusive_lock);
}

/* --- State that the accelerator keeps --- */

void cpu_synchronize_state(Cpu *cpu)
{
    Accel *accel = cpu->accel ? accel_current() : NULL;
    if (accel && accel_class_of(accel)->synchronize_state) {
        accel_class_of(accel)->synchronize_state(accel, cpu);
    }
}

void cpu_discard_state(Cpu *cpu)
{
    Accel *accel = cpu->accel ? accel_current() : NULL;
    if (accel && accel_class_of(accel)->discard_state) {
        accel_class_of(accel)->discard_state(accel, cpu);
    }
}

/* --- The debugger's memory --- */

static bool debug_access(Cpu *cpu, uint64_t addr, uint8_t *buf, uint64_t len, bool write)
{
    CpuClass *klass = cpu_class_of(cpu);
    cpu_synchronize_state(cpu);
    while (len) {
        hwaddr phys;
        uint64_t part = MIN_OF(len, 4096 - (addr & 4095));
        if (!klass->debug_translate(cpu, addr, &phys)) {
            return false;
        }
        MemTxResult r =
            write ? address_space_write_rom(cpu->memory, phys, buf, part)
                  : address_space_read(cpu->memory, phys, MEMTXATTRS_UNSPECIFIED, buf, part);
        if (r != MEMTX_OK) {
            return false;
        }
        addr += part;
        buf += part;
        len -= part;
    }
    return true;
}

bool cpu_debug_read(Cpu *cpu, uint64_t addr, void *buf, uint64_t len)
{
    return debug_access(cpu, addr, buf, len, false);
}

bool cpu_debug_write(Cpu *cpu, uint64_t addr, const void *buf, uint64_t len)
{
    return debug_access(cpu, addr, (uint8_t *)(uintptr_t)buf, len, true);
}

/* --- The type --- */

static bool cpu_realize(Device *dev, Error **errp)
{
    Cpu *cpu = (Cpu *)dev;
    Accel *accel = accel_current();
    if (cpu_total == CPU_MAX) {
        error_set(errp, "more than %u CPUs can't be had", CPU_MAX);
        return false;
    }
    if (!cpu->memory) {
        cpu->memory = address_space_memory();
    }
    if (!cpu->io) {
        cpu->io = address_space_io();
    }
    cpu->index = (int)cpu_total;
    cpu->stop = cpu->stopped = !vm_is_running();
    if (accel && accel_class_of(accel)->create_vcpu &&
        !accel_class_of(accel)->create_vcpu(accel, cpu, errp)) {
        return false;
    }
    cpus[cpu_total] = cpu;
    __atomic_store_n(&cpu_total, cpu_total + 1, __ATOMIC_RELEASE);
    /* Monitor clients ask for its thread id as soon as there is a CPU. */
    while (cpu->thread_created && !cpu->created) {
        machine_cond_wait(&progress);
    }
    return true;
}

static void cpu_unrealize(Device *dev)
{
    Cpu *cpu = (Cpu *)dev;
    Accel *accel = accel_current();
    unsigned n = 0;
    if (accel && accel_class_of(accel)->destroy_vcpu) {
        accel_class_of(accel)->destroy_vcpu(accel, cpu);
    }
    while (n < cpu_total && cpus[n] != cpu) {
        n++;
    }
    if (n < cpu_total) {
        __atomic_store_n(&cpu_total, cpu_total - 1, __ATOMIC_RELEASE);
        for (; n < cpu_total; n++) {
            cpus[n] = cpus[n + 1];
        }
        cpus[cpu_total] = NULL;
    }
}

static void cpu_finalize(Object *obj)
{
    Cpu *cpu = (Cpu *)obj;
    if (cpu->breakpoints) {
        g_ptr_array_free(cpu->breakpoints, TRUE);
    }
}

static void cpu_instance_init(Object *obj)
{
    Cpu *cpu = (Cpu *)obj;
    cpu->breakpoints = g_ptr_array_new_with_free_func(g_free);
}

static void cpu_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = (DeviceClass *)class_cast(klass, TYPE_DEVICE);
    dc->category = DEVICE_CATEGORY_CPU;
    dc->user_creatable = false;
    dc->realize = cpu_realize;
    dc->unrealize = cpu_unrealize;
}

static const TypeInfo cpu_type = {
    .name = TYPE_CPU,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(Cpu),
    .class_size = sizeof(CpuClass),
    .abstract = true,
    .class_init = cpu_class_init,
    .instance_init = cpu_instance_init,
    .instance_finalize = cpu_finalize,
};
OBJECT_TYPE(cpu_type, cpu_type)
