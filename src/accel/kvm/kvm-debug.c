/*
 * The debugger's wishes: hardware breakpoints and watchpoints take the processor's debug registers,
 * of which there are four; software breakpoints those that are left, since that changes nothing in
 * guest memory, and else INT3 bytes.
 *
 * The vCPUs stand while wishes change. What the guest itself raises (its own INT3, its own debug
 * registers) is given back to it.
 */
#include <inttypes.h>
#include <string.h>

#include "accel/kvm/kvm-internal.h"
#include "base/report.h"
#include "cpu/debug.h"
#include "cpu/x86/system.h"
#include "event/lock.h"

#define INT3         0xccu
#define DR_COUNT     4
#define DR7_RESERVED 0x400u
#define DR7_GLOBAL   0x200u
#define DR6_BS       0x4000u

/* One byte of guest memory that is INT3 for us. */
typedef struct KvmBreakpoint {
    uint64_t addr;
    uint8_t original;
} KvmBreakpoint;

/* Who has the debug registers, by number; NULL: nobody. Returns how many hardware wishes there are.
 */
static unsigned assign_registers(const Cpu *cpu, const CpuBreakpoint *owners[DR_COUNT])
{
    unsigned n = 0, hardware = 0;

    memset(owners, 0, DR_COUNT * sizeof(owners[0]));
    for (int software = 0; software < 2; software++) {
        for (unsigned i = 0; i < cpu->breakpoints->len; i++) {
            const CpuBreakpoint *b = g_ptr_array_index(cpu->breakpoints, i);
            if ((b->kind == CPU_BREAK_SOFTWARE) != software) {
                continue;
            }
            hardware += !software;
            if (n < DR_COUNT) {
                owners[n++] = b;
            }
        }
    }
    return hardware;
}

static bool has_register(const CpuBreakpoint *const owners[DR_COUNT], const CpuBreakpoint *b)
{
    for (unsigned n = 0; n < DR_COUNT; n++) {
        if (owners[n] == b) {
            return true;
        }
    }
    return false;
}

/* --- INT3 --- */

static bool is_wanted(uint64_t addr)
{
    Cpu *cpu;
    CPU_FOREACH(cpu)
    {
        const CpuBreakpoint *owners[DR_COUNT];
        assign_registers(cpu, owners);
        for (unsigned i = 0; i < cpu->breakpoints->len; i++) {
            const CpuBreakpoint *b = g_ptr_array_index(cpu->breakpoints, i);
            if (b->kind == CPU_BREAK_SOFTWARE && b->addr == addr && !has_register(owners, b)) {
                return true;
            }
        }
    }
    return false;
}

static KvmBreakpoint *find_planted(const Kvm *kvm, uint64_t addr)
{
    for (unsigned i = 0; kvm->breakpoints && i < kvm->breakpoints->len; i++) {
        KvmBreakpoint *b = &g_array_index(kvm->breakpoints, KvmBreakpoint, i);
        if (b->addr == addr) {
            return b;
        }
    }
    return NULL;
}

static void plant(Kvm *kvm, Cpu *cpu, uint64_t addr)
{
    KvmBreakpoint b = { .addr = addr };
    const uint8_t int3 = INT3;

    if (find_planted(kvm, addr)) {
        return;
    }
    if (!cpu_debug_read(cpu, addr, &b.original, 1) || !cpu_debug_write(cpu, addr, &int3, 1)) {
        report_warning("accelerator 'kvm': no memory to put a breakpoint at 0x%" PRIx64, addr);
        return;
    }
    if (!kvm->breakpoints) {
        kvm->breakpoints = g_array_new(false, false, sizeof(KvmBreakpoint));
    }
    g_array_append_val(kvm->breakpoints, b);
}

static void weed(Kvm *kvm, Cpu *cpu)
{
    for (unsigned i = 0; kvm->breakpoints && i < kvm->breakpoints->len;) {
        const KvmBreakpoint *b = &g_array_index(kvm->breakpoints, KvmBreakpoint, i);
        uint8_t now = 0;
        if (is_wanted(b->addr)) {
            i++;
            continue;
        }
        /* The guest may have put something else there. */
        if (cpu_debug_read(cpu, b->addr, &now, 1) && now == INT3 &&
            !cpu_debug_write(cpu, b->addr, &b->original, 1)) {
            report_warning("accelerator 'kvm': the breakpoint at 0x%" PRIx64 " stays", b->addr);
        }
        g_array_remove_index_fast(kvm->breakpoints, i);
    }
}

/* --- Hardware breakpoints --- */

/* SDM volume 3 section 17.2.4: R/W and LEN fields. */
static uint64_t dr7_bits(const CpuBreakpoint *b, unsigned n)
{
    uint64_t rw = b->kind == CPU_BREAK_HARDWARE || b->kind == CPU_BREAK_SOFTWARE ? 0
                  : b->kind == CPU_WATCH_WRITE                                   ? 1
                                                                                 : 3;
    uint64_t len = rw == 0 ? 0 : b->len == 8 ? 2 : b->len == 4 ? 3 : b->len == 2 ? 1 : 0;
    return UINT64_C(2) << (2 * n) | rw << (16 + 4 * n) | len << (18 + 4 * n);
}

static void set_guest_debug(KvmCpu *k)
{
    Cpu *cpu = &k->cpu->parent;
    struct kvm_guest_debug d = { 0 };
    const CpuBreakpoint *owners[DR_COUNT];

    if (assign_registers(cpu, owners) > DR_COUNT) {
        report_warning(
            "accelerator 'kvm': the processor has %d debug registers; further break- and "
            "watchpoints don't stop it",
            DR_COUNT);
    }
    for (unsigned n = 0; n < DR_COUNT && owners[n]; n++) {
        d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        d.arch.debugreg[7] |= DR7_RESERVED | DR7_GLOBAL | dr7_bits(owners[n], n);
        d.arch.debugreg[n] = owners[n]->addr;
    }
    if (k->kvm->breakpoints && k->kvm->breakpoints->len) {
        d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    }
    if (cpu->single_step) {
        d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
#ifdef KVM_GUESTDBG_BLOCKIRQ
        if (cpu->single_step_no_irq &&
            (kvm_check(k->kvm, KVM_CAP_SET_GUEST_DEBUG2) & (int)KVM_GUESTDBG_BLOCKIRQ)) {
            d.control |= KVM_GUESTDBG_BLOCKIRQ;
        }
#endif
    }
    int r = kvm_vcpu_ioctl(k, KVM_SET_GUEST_DEBUG, &d);
    if (r < 0 && d.control) {
        report_warning("accelerator 'kvm': CPU %d: KVM_SET_GUEST_DEBUG: %s; break- and watchpoints "
                       "don't stop it",
                       cpu->index, strerror(-r));
    }
}

static void update_here(Cpu *cpu, void *opaque)
{
    set_guest_debug(cpu->accel);
}

void kvm_update_debug(Accel *accel, Cpu *cpu)
{
    KvmCpu *k = cpu->accel;

    if (!k || !k->kvm->caps.guest_debug) {
        report_warning_once("accelerator 'kvm': the host's kernel has no KVM_CAP_SET_GUEST_DEBUG; "
                            "break- and watchpoints don't work");
        return;
    }
    const CpuBreakpoint *owners[DR_COUNT];
    assign_registers(cpu, owners);
    for (unsigned i = 0; i < cpu->breakpoints->len; i++) {
        const CpuBreakpoint *b = g_ptr_array_index(cpu->breakpoints, i);
        if (b->kind == CPU_BREAK_SOFTWARE && !has_register(owners, b)) {
            plant(k->kvm, cpu, b->addr);
        }
    }
    weed(k->kvm, cpu);
    cpu_run_on_wait(cpu, update_here, NULL);
}

/* --- Exits --- */

/* The break- or watchpoint whose debug register hit; NULL: none of ours. */
static const CpuBreakpoint *find_hit(const Cpu *cpu, uint64_t dr6)
{
    const CpuBreakpoint *owners[DR_COUNT];
    assign_registers(cpu, owners);
    for (unsigned n = 0; n < DR_COUNT; n++) {
        if (owners[n] && (dr6 >> n & 1)) {
            return owners[n];
        }
    }
    return NULL;
}

/* It was the guest's own: it takes the exception. */
static void give_back(KvmCpu *k, unsigned vector, uint64_t dr6)
{
    X86State *s = &k->cpu->state;

    kvm_synchronize(&k->cpu->parent);
    s->exception_pending = (int32_t)vector;
    s->exception_has_error = false;
    if (vector == X86_EXC_DB) {
        s->dr[6] |= (dr6 & 0xf) | (dr6 & DR6_BS);
    } else {
        s->rip++; /* INT3 is a trap */
    }
}

bool kvm_handle_debug(KvmCpu *k)
{
    const struct kvm_debug_exit_arch d = k->run->debug.arch;
    Cpu *cpu = &k->cpu->parent;

    const CpuBreakpoint *b;

    MACHINE_LOCKED();
    cpu->debug_stop.reason = CPU_STOP_NONE;
    if (d.exception == X86_EXC_BP && find_planted(k->kvm, d.pc)) {
        cpu->debug_stop.reason = CPU_STOP_BREAKPOINT;
        cpu->debug_stop.kind = CPU_BREAK_SOFTWARE;
        cpu->debug_stop.addr = d.pc;
    } else if (d.exception == X86_EXC_DB && (b = find_hit(cpu, d.dr6)) != NULL) {
        cpu->debug_stop.reason = b->kind == CPU_BREAK_HARDWARE || b->kind == CPU_BREAK_SOFTWARE
                                     ? CPU_STOP_BREAKPOINT
                                     : CPU_STOP_WATCHPOINT;
        cpu->debug_stop.kind = b->kind;
        cpu->debug_stop.addr = b->addr;
    } else if (d.exception == X86_EXC_DB && cpu->single_step && (d.dr6 & DR6_BS)) {
        cpu->debug_stop.reason = CPU_STOP_STEP;
    }
    if (cpu->debug_stop.reason != CPU_STOP_NONE) {
        cpu_debug_report(cpu);
        return false;
    }
    give_back(k, d.exception, d.dr6);
    return true;
}

void kvm_debug_finish(Kvm *kvm)
{
    if (kvm->breakpoints) {
        g_array_free(kvm->breakpoints, TRUE);
        kvm->breakpoints = NULL;
    }
}
