/*
 * vCPUs: a thread each, which runs guest code in the kernel and handles what it exits for.
 *
 * Kicks. Whoever wants a vCPU out of the guest sets a request bit, then run->immediate_exit, then
 * sends the thread a signal. The thread clears immediate_exit, then looks at the requests, then
 * enters: a kick at any moment is either seen there, or makes KVM_RUN return at once, or interrupts
 * it. The signal's handler does nothing; KvmCpu.kicked keeps kicks in a row to one signal.
 *
 * Unfinished instructions. After an exit for a port or for memory the instruction is half done: the
 * kernel finishes it at the next KVM_RUN. The loop is left only after that (finish_access()), so
 * that everybody else sees registers between two instructions.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/kvm/kvm-internal.h"
#include "base/bits.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/report.h"
#include "base/thread.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/system.h"
#include "event/lock.h"
#include "object/lifecycle.h"
#include "object/runstate.h"

/* --- Kicks --- */

static void on_kick(int sig)
{
}

void kvm_install_kick_handler(void)
{
    /* Calls other than KVM_RUN go on as if nothing had been. */
    struct sigaction sa = { .sa_handler = on_kick, .sa_flags = SA_RESTART };
    sigaction(KVM_KICK_SIGNAL, &sa, NULL);
}

void kvm_kick(Cpu *cpu)
{
    KvmCpu *k = cpu->accel;
    if (!k || __atomic_exchange_n(&k->kicked, true, __ATOMIC_SEQ_CST)) {
        return;
    }
    __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&k->running, __ATOMIC_SEQ_CST) &&
        !pthread_equal(cpu->thread, pthread_self())) {
        pthread_kill(cpu->thread, KVM_KICK_SIGNAL);
    }
}

/* --- Keeping vCPUs out while memory slots change --- */

static bool any_running(const Kvm *kvm)
{
    for (unsigned i = 0; i < kvm->cpus->len; i++) {
        KvmCpu *k = g_ptr_array_index(kvm->cpus, i);
        if (__atomic_load_n(&k->running, __ATOMIC_SEQ_CST)) {
            return true;
        }
    }
    return false;
}

void kvm_inhibit(Kvm *kvm)
{
    pthread_mutex_lock(&kvm->run_lock);
    __atomic_store_n(&kvm->inhibited, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < kvm->cpus->len; i++) {
        KvmCpu *k = g_ptr_array_index(kvm->cpus, i);
        kvm_kick(&k->cpu->parent);
    }
    while (any_running(kvm)) {
        pthread_cond_wait(&kvm->run_cond, &kvm->run_lock);
    }
    pthread_mutex_unlock(&kvm->run_lock);
}

void kvm_allow(Kvm *kvm)
{
    pthread_mutex_lock(&kvm->run_lock);
    __atomic_store_n(&kvm->inhibited, false, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&kvm->run_cond);
    pthread_mutex_unlock(&kvm->run_lock);
}

static void leave_guest(KvmCpu *k)
{
    Kvm *kvm = k->kvm;
    __atomic_store_n(&k->running, false, __ATOMIC_SEQ_CST);
    if (UNLIKELY(__atomic_load_n(&kvm->inhibited, __ATOMIC_SEQ_CST))) {
        pthread_mutex_lock(&kvm->run_lock);
        pthread_cond_broadcast(&kvm->run_cond);
        pthread_mutex_unlock(&kvm->run_lock);
    }
}

static void enter_guest(KvmCpu *k)
{
    Kvm *kvm = k->kvm;
    for (;;) {
        __atomic_store_n(&k->running, true, __ATOMIC_SEQ_CST);
        if (LIKELY(!__atomic_load_n(&kvm->inhibited, __ATOMIC_SEQ_CST))) {
            return;
        }
        leave_guest(k);
        pthread_mutex_lock(&kvm->run_lock);
        while (kvm->inhibited) {
            pthread_cond_wait(&kvm->run_cond, &kvm->run_lock);
        }
        pthread_mutex_unlock(&kvm->run_lock);
    }
}

/* --- Errors --- */

static void stop_for_error(void *opaque)
{
    vm_stop(RUN_STATE_INTERNAL_ERROR);
}

static void print_registers(KvmCpu *k)
{
    GString *text = g_string_new(NULL);
    Cpu *cpu = &k->cpu->parent;
    (void)cpu_class_of(cpu)->dump(cpu, CPU_DUMP_REGISTERS, text);
    fprintf(stderr, "%s", text->str);
    g_string_free(text, TRUE);
}

void kvm_internal_error(KvmCpu *k, const char *what)
{
    Cpu *cpu = &k->cpu->parent;
    ASSERT_MACHINE_LOCKED();
    report_error("accelerator 'kvm': CPU %d: %s; the machine is stopped", cpu->index, what);
    print_registers(k);
    cpu->crashed = true;
    cpu->stop = true; /* not one instruction more, whenever the main loop comes to it */
    bh_run_once(event_loop_main(), stop_for_error, NULL);
}

static bool fail(KvmCpu *k, const char *what)
{
    MACHINE_LOCKED();
    kvm_internal_error(k, what);
    return false;
}

static bool handle_internal_error(KvmCpu *k)
{
    const struct kvm_run *run = k->run;
    GString *text = g_string_new(NULL);

    g_string_printf(text, "KVM internal error %u", run->internal.suberror);
    if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
        g_string_append(text, " (an instruction that the kernel can't emulate)");
    } else if (run->internal.suberror == KVM_INTERNAL_ERROR_DELIVERY_EV) {
        g_string_append(text, " (an exit while an event was delivered)");
    }
    for (unsigned i = 0; i < MIN_OF(run->internal.ndata, ARRAY_LEN(run->internal.data)); i++) {
        g_string_append_printf(text, "%s%llx", i ? " " : ", data ", run->internal.data[i]);
    }
    fail(k, text->str);
    g_string_free(text, TRUE);
    return false;
}

/* The machine is reset, or what -action says of that; registers tell why. */
static bool handle_triple_fault(KvmCpu *k)
{
    MACHINE_LOCKED();
    report_warning("CPU %d: triple fault", k->cpu->parent.index);
    print_registers(k);
    k->cpu->waits_in_accel = false; /* nothing wakes it but the reset */
    x86_triple_fault(k->cpu);
    return false;
}

/* --- Interrupts from our side: controllers that are not in the kernel --- */

static bool interrupt_wanted(const KvmCpu *k)
{
    return (k->kvm->irqchip == ACCEL_IRQCHIP_OFF && k->cpu->apic &&
            x86_apic_pending(k->cpu->apic) >= 0) ||
           (k->kvm->irqchip != ACCEL_IRQCHIP_ON && x86_apic_extint_pending(k->cpu));
}

static void inject_interrupt(KvmCpu *k)
{
    struct kvm_run *run = k->run;

    run->request_interrupt_window = 0;
    if (k->kvm->irqchip == ACCEL_IRQCHIP_ON) {
        cpu_clear_request(&k->cpu->parent, CPU_REQUEST_HARD);
        return;
    }
    if (run->ready_for_interrupt_injection && run->if_flag && interrupt_wanted(k)) {
        int vector = k->kvm->irqchip == ACCEL_IRQCHIP_SPLIT ? x86_apic_extint_acknowledge(k->cpu)
                                                            : x86_take_interrupt(k->cpu);
        if (vector >= 0) {
            struct kvm_interrupt irq = { .irq = (uint32_t)vector };
            int r = kvm_vcpu_ioctl(k, KVM_INTERRUPT, &irq);
            if (r < 0) {
                report_warning_once("accelerator 'kvm': KVM_INTERRUPT is refused: %s",
                                    strerror(-r));
            }
            k->counters.interrupts++;
            run->ready_for_interrupt_injection = 0;
        }
    }
    run->request_interrupt_window = interrupt_wanted(k);
}

/* INIT and SIPI where the local APIC is ours. */
static void take_resets(KvmCpu *k)
{
    MACHINE_LOCKED();
    kvm_synchronize(&k->cpu->parent);
    x86_take_resets(k->cpu);
}

/* Everything that is wanted of the vCPU before it runs; false: it doesn't. */
static bool serve_requests(KvmCpu *k)
{
    Cpu *cpu = &k->cpu->parent;
    uint32_t r = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);

    if (r & (CPU_REQUEST_EXIT | CPU_REQUEST_DEBUG)) {
        return false;
    }
    if (r & (CPU_REQUEST_POLL | CPU_REQUEST_SMI | CPU_REQUEST_FLUSH | CPU_REQUEST_MCE)) {
        /* There is no system management mode; the others are for translators. */
        cpu_clear_request(cpu,
                          CPU_REQUEST_POLL | CPU_REQUEST_SMI | CPU_REQUEST_FLUSH | CPU_REQUEST_MCE);
    }
    if (r & (CPU_REQUEST_INIT | CPU_REQUEST_SIPI)) {
        take_resets(k);
    }
    if (k->kvm->irqchip == ACCEL_IRQCHIP_OFF) {
        if (k->cpu->state.wait_for_sipi) {
            __atomic_store_n(&cpu->halted, true, __ATOMIC_SEQ_CST);
            return false;
        }
        __atomic_store_n(&cpu->halted, false, __ATOMIC_SEQ_CST); /* there is work */
    }
    if (k->ours) {
        if (!kvm_put_state(k)) {
            return fail(k, "the kernel doesn't take the CPU's state");
        }
        k->ours = false;
    }
    if (r & CPU_REQUEST_NMI) {
        cpu_clear_request(cpu, CPU_REQUEST_NMI);
        kvm_vcpu_ioctl(k, KVM_NMI, NULL);
    }
    inject_interrupt(k);
    return true;
}

/* --- Exits --- */

static void handle_port(KvmCpu *k)
{
    struct kvm_run *run = k->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    AddressSpace *io = k->cpu->parent.io;
    unsigned size = run->io.size, port = run->io.port;

    k->counters.pio++;
    for (uint32_t i = 0; i < run->io.count; i++, data += size) {
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            address_space_store(io, port, size, MEMTXATTRS_UNSPECIFIED, ldn_le(data, size));
        } else {
            uint64_t value = 0;
            if (address_space_load(io, port, size, MEMTXATTRS_UNSPECIFIED, &value) != MEMTX_OK) {
                value = UINT64_MAX; /* nobody drives the bus */
            }
            stn_le(data, size, value);
        }
    }
}

static void handle_memory(KvmCpu *k)
{
    struct kvm_run *run = k->run;
    AddressSpace *memory = k->cpu->parent.memory;
    uint64_t addr = run->mmio.phys_addr, value = 0;
    unsigned len = run->mmio.len;
    bool single = len && len <= 8 && !(len & (len - 1));

    k->counters.mmio++;
    if (!single) { /* a piece of an access that crosses a page */
        len = MIN_OF(len, sizeof(run->mmio.data));
        if (run->mmio.is_write) {
            address_space_write(memory, addr, MEMTXATTRS_UNSPECIFIED, run->mmio.data, len);
        } else {
            address_space_read(memory, addr, MEMTXATTRS_UNSPECIFIED, run->mmio.data, len);
        }
    } else if (run->mmio.is_write) {
        address_space_store(memory, addr, len, MEMTXATTRS_UNSPECIFIED, ldn_le(run->mmio.data, len));
    } else {
        if (address_space_load(memory, addr, len, MEMTXATTRS_UNSPECIFIED, &value) != MEMTX_OK) {
            value = UINT64_MAX;
        }
        stn_le(run->mmio.data, len, value);
    }
}

/* Only where the local APIC is ours; else the kernel waits by itself. */
static bool handle_halt(KvmCpu *k)
{
    Cpu *cpu = &k->cpu->parent;
    X86State *s = &k->cpu->state;

    k->counters.halts++;
    /* What x86_has_work() looks at. */
    s->rflags = k->run->if_flag ? s->rflags | X86_IF : s->rflags & ~(uint64_t)X86_IF;
    s->interrupt_shadow = 0;
    if (!(k->run->if_flag && interrupt_wanted(k)) &&
        !(__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQUEST_NMI)) {
        __atomic_store_n(&cpu->halted, true, __ATOMIC_SEQ_CST);
        return false;
    }
    return true;
}

static bool handle_system_event(KvmCpu *k)
{
    switch (k->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        lifecycle_request_shutdown(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        return false;
    case KVM_SYSTEM_EVENT_RESET:
        lifecycle_request_reset(SHUTDOWN_CAUSE_GUEST_RESET);
        return false;
    case KVM_SYSTEM_EVENT_CRASH: {
        MACHINE_LOCKED();
        lifecycle_report_panic(GUEST_PANIC_CRASHED);
        return false;
    }
    default:
        return true;
    }
}

/* False: the loop is left. */
static bool handle_exit(KvmCpu *k)
{
    const struct kvm_run *run = k->run;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        handle_port(k);
        return true;
    case KVM_EXIT_MMIO:
        handle_memory(k);
        return true;
    case KVM_EXIT_HLT:
        return handle_halt(k);
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_INTR:
        return true;
    case KVM_EXIT_IOAPIC_EOI:
        x86_apic_broadcast_eoi(k->cpu->apic_bus, run->eoi.vector);
        return true;
    case KVM_EXIT_DEBUG:
        return kvm_handle_debug(k);
    case KVM_EXIT_DIRTY_RING_FULL: {
        MACHINE_LOCKED();
        kvm_dirty_reap(k->kvm);
        return true;
    }
    case KVM_EXIT_SHUTDOWN:
        return handle_triple_fault(k);
    case KVM_EXIT_SYSTEM_EVENT:
        return handle_system_event(k);
    case KVM_EXIT_INTERNAL_ERROR:
        return handle_internal_error(k);
    case KVM_EXIT_FAIL_ENTRY: {
        g_autofree char *text =
            g_strdup_printf("the processor refuses to enter the guest, reason 0x%llx",
                            run->fail_entry.hardware_entry_failure_reason);
        return fail(k, text);
    }
    default: {
        g_autofree char *text = g_strdup_printf("KVM exit %u is unknown", run->exit_reason);
        return fail(k, text);
    }
    }
}

/* --- The loop --- */

static bool is_access(const struct kvm_run *run)
{
    return run->exit_reason == KVM_EXIT_IO || run->exit_reason == KVM_EXIT_MMIO;
}

static int run_guest(KvmCpu *k)
{
    int r;
    enter_guest(k);
    r = ioctl(k->fd, KVM_RUN, 0L);
    r = r < 0 ? -errno : 0;
    leave_guest(k);
    return r;
}

/* Let the kernel finish the instruction of the last exit, which may need more accesses. */
static void finish_access(KvmCpu *k)
{
    for (;;) {
        __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        if (run_guest(k) < 0 || !is_access(k->run)) {
            return;
        }
        handle_exit(k);
    }
}

/* What of our local APIC the guest reaches by other ways than its registers. */
static void sync_in_apic(KvmCpu *k)
{
    X86Apic *apic = k->cpu->apic;
    if (k->kvm->irqchip == ACCEL_IRQCHIP_OFF && apic) {
        k->run->cr8 = x86_apic_get_tpr(apic) >> 4;
    }
}

static void sync_out_apic(KvmCpu *k)
{
    X86Apic *apic = k->cpu->apic;
    if (k->kvm->irqchip != ACCEL_IRQCHIP_OFF || !apic) {
        return;
    }
    if ((k->run->cr8 & 15) != x86_apic_get_tpr(apic) >> 4) {
        x86_apic_set_tpr(apic, (uint8_t)(k->run->cr8 << 4));
    }
    if (UNLIKELY(k->run->apic_base != x86_apic_get_base(apic))) {
        if (!x86_apic_set_base(apic, k->run->apic_base)) {
            log_guest_error("APIC base 0x%llx can't be\n", k->run->apic_base);
        }
    }
}

static bool run_failed(KvmCpu *k, int error)
{
    if (error == -EINTR || error == -EAGAIN) {
        k->counters.kicks++;
        return true;
    }
    g_autofree char *text = error == -EFAULT
                                ? g_strdup("guest memory that the host can't provide (Bad address)")
                                : g_strdup_printf("KVM_RUN fails: %s", strerror(-error));
    return fail(k, text);
}

static void run_vcpu(KvmCpu *k)
{
    bool access = false, go_on = true;

    while (go_on) {
        __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&k->kicked, false, __ATOMIC_SEQ_CST);
        if (!serve_requests(k)) {
            break;
        }
        sync_in_apic(k);
        int r = run_guest(k);
        sync_out_apic(k);
        access = false;
        if (UNLIKELY(r < 0)) {
            go_on = run_failed(k, r);
            continue;
        }
        k->counters.exits++;
        go_on = handle_exit(k);
        access = is_access(k->run);
    }
    if (access) {
        finish_access(k);
    }
}

static void *vcpu_thread(void *opaque)
{
    KvmCpu *k = opaque;
    Cpu *cpu = &k->cpu->parent;

    cpu->thread = pthread_self();
    cpu_thread_enter(cpu);
    machine_lock();
    while (cpu_wait_for_work(cpu)) {
        if (!k->kvm->listening) {
            kvm_memory_listen(k->kvm, cpu);
        }
        machine_unlock();
        run_vcpu(k);
        machine_lock();
        kvm_flush_coalesced(k->kvm);
    }
    machine_unlock();
    cpu_thread_leave(cpu);
    return NULL;
}

/* --- Making and unmaking --- */

static void vcpu_free(KvmCpu *k)
{
    if (k->ring) {
        munmap(k->ring, k->kvm->ring_entries * sizeof(struct kvm_dirty_gfn));
    }
    if (k->run) {
        munmap(k->run, (size_t)k->kvm->run_bytes);
    }
    if (k->fd >= 0) {
        close(k->fd);
    }
    g_free(k);
}

static bool map_run(KvmCpu *k, Error **errp)
{
    Kvm *kvm = k->kvm;
    void *p = mmap(NULL, (size_t)kvm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (p == MAP_FAILED) {
        error_set_errno(errp, errno, "can't map its page");
        return false;
    }
    k->run = p;
    int page = kvm->caps.coalesced_page;
    if (page && (page + 1) * getpagesize() <= kvm->run_bytes) {
        k->coalesced = (void *)((uint8_t *)p + page * getpagesize());
    }
    return !kvm->ring_entries || kvm_dirty_ring_map(k, errp);
}

static bool make_vcpu(KvmCpu *k, Error **errp)
{
    Kvm *kvm = k->kvm;

    if ((int)kvm->cpus->len >= kvm->caps.max_vcpus ||
        k->cpu->apic_id >= (uint32_t)kvm->caps.max_vcpu_id) {
        error_set(errp, "the host's kernel has %d CPUs with ids below %d at most; use fewer",
                  kvm->caps.max_vcpus, kvm->caps.max_vcpu_id);
        return false;
    }
    if (FAULT("vCPU", errp)) {
        return false;
    }
    /* Its number is the local APIC's id. */
    k->fd = kvm_vm_ioctl(kvm, KVM_CREATE_VCPU, (void *)(uintptr_t)k->cpu->apic_id);
    if (k->fd < 0) {
        error_set_errno(errp, -k->fd, "the kernel makes no vCPU");
        return false;
    }
    return map_run(k, errp) && kvm_cpuid_set(k, errp);
}

static bool set_tsc_rate(KvmCpu *k, Error **errp)
{
    int khz = kvm_vcpu_ioctl(k, KVM_GET_TSC_KHZ, NULL);
    uint64_t want = k->cpu->tsc_frequency;

    if (!want || khz <= 0) {
        return true;
    }
    int r = kvm_vcpu_ioctl(k, KVM_SET_TSC_KHZ, (void *)(uintptr_t)(want / 1000));
    /* Without scaling the kernel takes any rate near its own, or refuses. */
    if (r < 0 || (!k->kvm->caps.tsc_control && want / 1000 > (uint64_t)khz + khz / 4000)) {
        error_set(errp,
                  "tsc-frequency=%" PRIu64 ": the host can't change the TSC's rate, which is "
                  "%d kHz; leave it out",
                  want, khz);
        return false;
    }
    return true;
}

/* What MCG_CAP says: banks, and that MCG_CTL is there. */
#define MCG_CTL_PRESENT 0x100u

static void set_up_machine_check(KvmCpu *k)
{
    uint64_t cap = ARRAY_LEN(k->cpu->state.mc_banks) / 4 | MCG_CTL_PRESENT;

    if (!x86_has_feature(k->cpu, X86_CPUID_1_EDX, 14) || !kvm_check(k->kvm, KVM_CAP_MCE)) {
        return;
    }
    int r = kvm_vcpu_ioctl(k, KVM_X86_SETUP_MCE, &cap);
    if (r < 0) {
        report_warning_once("accelerator 'kvm': KVM_X86_SETUP_MCE is refused: %s", strerror(-r));
    }
}

bool kvm_vcpu_create(Kvm *kvm, Cpu *cpu, Error **errp)
{
    X86Cpu *x86 = (X86Cpu *)object_cast(&cpu->parent.parent, TYPE_X86_CPU);
    KvmCpu *k = g_new0(KvmCpu, 1);

    k->kvm = kvm;
    k->cpu = x86;
    k->fd = -1;
    k->ours = k->lapic_ours = true;
    if (!make_vcpu(k, errp) || !set_tsc_rate(k, errp)) {
        vcpu_free(k);
        return false;
    }
    set_up_machine_check(k);
    x86->waits_in_accel = kvm->irqchip != ACCEL_IRQCHIP_OFF;
    cpu->accel = k;
    cpu->kick = kvm_kick;
    g_ptr_array_add(kvm->cpus, k);
    int err =
        FAULT("vCPU thread", NULL) ? EAGAIN : pthread_create(&cpu->thread, NULL, vcpu_thread, k);
    if (err) {
        error_set_errno(errp, err, "no thread");
        g_ptr_array_remove(kvm->cpus, k);
        cpu->kick = NULL;
        cpu->accel = NULL;
        x86->waits_in_accel = false;
        vcpu_free(k);
        return false;
    }
    cpu->thread_created = true;
    g_autofree char *name = g_strdup_printf("CPU %d/KVM", cpu->index);
    thread_set_name(cpu->thread, name);
    return true;
}

void kvm_vcpu_destroy(Kvm *kvm, Cpu *cpu)
{
    KvmCpu *k = cpu->accel;

    cpu_end_thread(cpu);
    machine_unlock();
    pthread_join(cpu->thread, NULL);
    machine_lock();
    cpu->thread_created = false;
    cpu->kick = NULL;
    cpu->accel = NULL;
    k->cpu->waits_in_accel = false;
    g_ptr_array_remove(kvm->cpus, k);
    vcpu_free(k);
}
