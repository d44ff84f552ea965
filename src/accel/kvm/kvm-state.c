/*
 * Registers between X86State and the kernel, both ways, whole. Groups in the order in which the
 * kernel wants them written: special registers before what depends on their mode, events last.
 */
#include <string.h>

#include "accel/kvm/kvm-internal.h"
#include "base/report.h"
#include "cpu/x86/mmu.h"
#include "event/lock.h"

#define XSAVE_BYTES sizeof(((struct kvm_xsave *)0)->region)

static bool failed(KvmCpu *k, const char *what, int r)
{
    report_error("accelerator 'kvm': CPU %d: %s: %s", k->cpu->parent.index, what, strerror(-r));
    return false;
}

#define DO(k, request, arg)                             \
    do {                                                \
        int r_ = kvm_vcpu_ioctl((k), (request), (arg)); \
        if (r_ < 0) {                                   \
            return failed((k), #request, r_);           \
        }                                               \
    } while (0)

/* --- Segments --- */

static void get_segment(X86Segment *to, const struct kvm_segment *from)
{
    to->base = from->base;
    to->limit = from->limit;
    to->selector = from->selector;
    to->unusable = from->unusable;
    to->access = (from->type & X86_SEG_TYPE) | (from->s ? X86_SEG_S : 0) | (from->dpl & 3u) << 5 |
                 (from->present ? X86_SEG_P : 0) | (from->avl ? X86_SEG_AVL : 0) |
                 (from->l ? X86_SEG_L : 0) | (from->db ? X86_SEG_DB : 0) |
                 (from->g ? X86_SEG_G : 0);
}

static void put_segment(struct kvm_segment *to, const X86Segment *from)
{
    uint32_t a = from->access;
    *to = (struct kvm_segment){
        .base = from->base,
        .limit = from->limit,
        .selector = from->selector,
        .type = a & X86_SEG_TYPE,
        .present = !!(a & X86_SEG_P) && !from->unusable,
        .dpl = (a & X86_SEG_DPL) >> 5,
        .db = !!(a & X86_SEG_DB),
        .s = !!(a & X86_SEG_S),
        .l = !!(a & X86_SEG_L),
        .g = !!(a & X86_SEG_G),
        .avl = !!(a & X86_SEG_AVL),
        .unusable = from->unusable || !(a & X86_SEG_P),
    };
}

/* --- General registers --- */

static bool get_general(KvmCpu *k)
{
    struct kvm_regs r;
    X86State *s = &k->cpu->state;

    DO(k, KVM_GET_REGS, &r);
    const uint64_t gpr[16] = { r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
                               r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15 };
    memcpy(s->gpr, gpr, sizeof(gpr));
    s->rip = r.rip;
    s->rflags = r.rflags | 2;
    return true;
}

static bool put_general(KvmCpu *k)
{
    const X86State *s = &k->cpu->state;
    const uint64_t *g = s->gpr;
    struct kvm_regs r = {
        .rax = g[X86_RAX],
        .rcx = g[X86_RCX],
        .rdx = g[X86_RDX],
        .rbx = g[X86_RBX],
        .rsp = g[X86_RSP],
        .rbp = g[X86_RBP],
        .rsi = g[X86_RSI],
        .rdi = g[X86_RDI],
        .r8 = g[8],
        .r9 = g[9],
        .r10 = g[10],
        .r11 = g[11],
        .r12 = g[12],
        .r13 = g[13],
        .r14 = g[14],
        .r15 = g[15],
        .rip = s->rip,
        .rflags = s->rflags,
    };
    DO(k, KVM_SET_REGS, &r);
    return true;
}

/* --- Special registers --- */

/* The two forms share their names, so that each copy is written once. */
#define GET_SPECIAL(s, r)                                              \
    do {                                                               \
        get_segment(&(s)->seg[X86_ES], &(r).es);                       \
        get_segment(&(s)->seg[X86_CS], &(r).cs);                       \
        get_segment(&(s)->seg[X86_SS], &(r).ss);                       \
        get_segment(&(s)->seg[X86_DS], &(r).ds);                       \
        get_segment(&(s)->seg[X86_FS], &(r).fs);                       \
        get_segment(&(s)->seg[X86_GS], &(r).gs);                       \
        get_segment(&(s)->ldtr, &(r).ldt);                             \
        get_segment(&(s)->tr, &(r).tr);                                \
        (s)->gdtr = (X86TableRegister){ (r).gdt.base, (r).gdt.limit }; \
        (s)->idtr = (X86TableRegister){ (r).idt.base, (r).idt.limit }; \
        (s)->cr0 = (r).cr0;                                            \
        (s)->cr2 = (r).cr2;                                            \
        (s)->cr3 = (r).cr3;                                            \
        (s)->cr4 = (r).cr4;                                            \
        (s)->efer = (r).efer;                                          \
    } while (0)

#define PUT_SPECIAL(r, s)                        \
    do {                                         \
        put_segment(&(r).es, &(s)->seg[X86_ES]); \
        put_segment(&(r).cs, &(s)->seg[X86_CS]); \
        put_segment(&(r).ss, &(s)->seg[X86_SS]); \
        put_segment(&(r).ds, &(s)->seg[X86_DS]); \
        put_segment(&(r).fs, &(s)->seg[X86_FS]); \
        put_segment(&(r).gs, &(s)->seg[X86_GS]); \
        put_segment(&(r).ldt, &(s)->ldtr);       \
        put_segment(&(r).tr, &(s)->tr);          \
        (r).gdt.base = (s)->gdtr.base;           \
        (r).gdt.limit = (s)->gdtr.limit;         \
        (r).idt.base = (s)->idtr.base;           \
        (r).idt.limit = (s)->idtr.limit;         \
        (r).cr0 = (s)->cr0;                      \
        (r).cr2 = (s)->cr2;                      \
        (r).cr3 = (s)->cr3;                      \
        (r).cr4 = (s)->cr4;                      \
        (r).efer = (s)->efer;                    \
    } while (0)

static void get_apic(KvmCpu *k, uint64_t apic_base, uint64_t cr8)
{
    X86Apic *apic = k->cpu->apic;
    if (apic) {
        x86_apic_load(apic, apic_base, (uint8_t)cr8);
    }
}

static bool get_special(KvmCpu *k)
{
    X86State *s = &k->cpu->state;

    if (k->kvm->caps.sregs2) {
        struct kvm_sregs2 r;
        DO(k, KVM_GET_SREGS2, &r);
        GET_SPECIAL(s, r);
        get_apic(k, r.apic_base, r.cr8);
        if (r.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) {
            memcpy(s->pdpte, r.pdptrs, sizeof(s->pdpte));
        }
        return true;
    }
    struct kvm_sregs r;
    DO(k, KVM_GET_SREGS, &r);
    GET_SPECIAL(s, r);
    get_apic(k, r.apic_base, r.cr8);
    return true;
}

static bool uses_pdptes(const X86State *s)
{
    return (s->cr0 & X86_CR0_PG) && (s->cr4 & X86_CR4_PAE) && !(s->efer & X86_EFER_LMA);
}

static bool put_special(KvmCpu *k)
{
    const X86State *s = &k->cpu->state;
    X86Apic *apic = k->cpu->apic;
    uint64_t base = apic ? x86_apic_get_base(apic) : 0;
    uint64_t cr8 = apic ? x86_apic_get_tpr(apic) >> 4 : 0;

    if (k->kvm->caps.sregs2) {
        struct kvm_sregs2 r = { .apic_base = base, .cr8 = cr8 };
        PUT_SPECIAL(r, s);
        if (uses_pdptes(s)) {
            memcpy(r.pdptrs, s->pdpte, sizeof(s->pdpte));
            r.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
        }
        DO(k, KVM_SET_SREGS2, &r);
        return true;
    }
    struct kvm_sregs r = { .apic_base = base, .cr8 = cr8 };
    PUT_SPECIAL(r, s);
    if (s->interrupt_injected >= 0) {
        r.interrupt_bitmap[s->interrupt_injected / 64] = UINT64_C(1)
                                                         << (s->interrupt_injected % 64);
    }
    DO(k, KVM_SET_SREGS, &r);
    return true;
}

/* --- x87 and vectors --- */

static bool get_extended(KvmCpu *k)
{
    X86State *s = &k->cpu->state;
    struct kvm_xcrs xcrs = { 0 };
    g_autofree struct kvm_xsave *x = g_malloc0(MAX_OF(sizeof(*x), X86_XSAVE_SIZE));

    DO(k, KVM_GET_XSAVE, x);
    memcpy(s->xsave, x->region, sizeof(s->xsave));
    DO(k, KVM_GET_XCRS, &xcrs);
    for (unsigned i = 0; i < xcrs.nr_xcrs; i++) {
        if (xcrs.xcrs[i].xcr == 0) {
            s->xcr0 = xcrs.xcrs[i].value;
        }
    }
    return true;
}

static bool put_extended(KvmCpu *k)
{
    const X86State *s = &k->cpu->state;
    struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = s->xcr0 } };
    g_autofree struct kvm_xsave *x = g_malloc0(sizeof(*x));

    G_STATIC_ASSERT(X86_XSAVE_SIZE <= XSAVE_BYTES);
    memcpy(x->region, s->xsave, sizeof(s->xsave));
    if (x86_has_feature(k->cpu, X86_CPUID_1_ECX, 26)) { /* XSAVE */
        DO(k, KVM_SET_XCRS, &xcrs);
    }
    DO(k, KVM_SET_XSAVE, x);
    return true;
}

/* --- Debug registers --- */

static bool get_debug(KvmCpu *k)
{
    X86State *s = &k->cpu->state;
    struct kvm_debugregs d;

    DO(k, KVM_GET_DEBUGREGS, &d);
    memcpy(s->dr, d.db, sizeof(d.db));
    s->dr[6] = d.dr6;
    s->dr[7] = d.dr7;
    return true;
}

static bool put_debug(KvmCpu *k)
{
    const X86State *s = &k->cpu->state;
    struct kvm_debugregs d = { .dr6 = s->dr[6], .dr7 = s->dr[7] };

    memcpy(d.db, s->dr, sizeof(d.db));
    DO(k, KVM_SET_DEBUGREGS, &d);
    return true;
}

/* --- Events and run state --- */

static bool get_events(KvmCpu *k)
{
    X86State *s = &k->cpu->state;
    struct kvm_vcpu_events e;

    DO(k, KVM_GET_VCPU_EVENTS, &e);
    s->exception_pending = e.exception.injected ? e.exception.nr : -1;
    s->exception_has_error = e.exception.has_error_code;
    s->exception_error = e.exception.error_code;
    s->exception_delivering = -1;
    s->exception_trap = false;
#ifdef KVM_VCPUEVENT_VALID_TRIPLE_FAULT
    if ((e.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && e.triple_fault.pending) {
        s->exception_pending = X86_TRIPLE_FAULT;
    }
#endif
    s->interrupt_injected = e.interrupt.injected ? e.interrupt.nr : -1;
    s->interrupt_soft = e.interrupt.soft;
    s->interrupt_shadow = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? 2
                          : e.interrupt.shadow                           ? 1
                                                                         : 0;
    s->nmi_blocked = e.nmi.masked;
    if (e.nmi.pending || e.nmi.injected) {
        __atomic_or_fetch(&k->cpu->parent.requests, CPU_REQUEST_NMI, __ATOMIC_SEQ_CST);
    }
    if (e.flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR) {
        s->sipi_vector = (uint8_t)e.sipi_vector;
    }
    return true;
}

static bool put_events(KvmCpu *k)
{
    const X86State *s = &k->cpu->state;
    struct kvm_vcpu_events e = {
        .interrupt.injected = s->interrupt_injected >= 0,
        .interrupt.nr = s->interrupt_injected >= 0 ? (uint8_t)s->interrupt_injected : 0,
        .interrupt.soft = s->interrupt_soft,
        .interrupt.shadow = s->interrupt_shadow == 2   ? KVM_X86_SHADOW_INT_MOV_SS
                            : s->interrupt_shadow == 1 ? KVM_X86_SHADOW_INT_STI
                                                       : 0,
        .nmi.masked = s->nmi_blocked,
        .sipi_vector = s->sipi_vector,
        .flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING,
    };
    if (s->exception_pending >= 0 && s->exception_pending < 32) {
        e.exception.injected = 1;
        e.exception.nr = (uint8_t)s->exception_pending;
        e.exception.has_error_code = s->exception_has_error;
        e.exception.error_code = s->exception_error;
    }
#ifdef KVM_VCPUEVENT_VALID_TRIPLE_FAULT
    if (k->kvm->caps.triple_fault_event) {
        e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
        e.triple_fault.pending = s->exception_pending == X86_TRIPLE_FAULT;
    }
#endif
    if (k->kvm->irqchip != ACCEL_IRQCHIP_OFF) {
        e.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
    }
    DO(k, KVM_SET_VCPU_EVENTS, &e);
    return true;
}

static bool get_run_state(KvmCpu *k)
{
    struct kvm_mp_state m = { 0 };
    if (k->kvm->irqchip == ACCEL_IRQCHIP_OFF) {
        return true; /* ours */
    }
    DO(k, KVM_GET_MP_STATE, &m);
    k->cpu->state.wait_for_sipi =
        m.mp_state == KVM_MP_STATE_UNINITIALIZED || m.mp_state == KVM_MP_STATE_INIT_RECEIVED;
    k->cpu->parent.halted = k->cpu->state.wait_for_sipi || m.mp_state == KVM_MP_STATE_HALTED;
    return true;
}

static bool put_run_state(KvmCpu *k)
{
    const X86Cpu *cpu = k->cpu;
    struct kvm_mp_state m = { .mp_state = KVM_MP_STATE_RUNNABLE };
    if (k->kvm->irqchip != ACCEL_IRQCHIP_OFF) {
        m.mp_state = cpu->state.wait_for_sipi ? KVM_MP_STATE_UNINITIALIZED
                     : cpu->parent.halted     ? KVM_MP_STATE_HALTED
                                              : KVM_MP_STATE_RUNNABLE;
    }
    DO(k, KVM_SET_MP_STATE, &m);
    return true;
}

/* --- Everything --- */

bool kvm_get_state(KvmCpu *k)
{
    /* The local APIC's base is among the special registers, and says in which form its own come. */
    if (!get_general(k) || !get_special(k) || !get_extended(k) || !get_debug(k) ||
        !kvm_get_msrs(k) || !kvm_get_lapic(k) || !get_run_state(k) || !get_events(k)) {
        return false;
    }
    x86_mmu_forget(k->cpu);
    x86_update_mode(k->cpu);
    return true;
}

static bool put_lapic(KvmCpu *k)
{
    if (k->lapic_ours && !kvm_put_lapic(k)) {
        return false;
    }
    k->lapic_ours = false;
    return true;
}

/* The rest is put once more before the CPU runs; the kernel takes a local APIC only after its base.
 */
static void put_now(Cpu *cpu, void *opaque)
{
    KvmCpu *k = cpu->accel;
    if (k && k->ours && k->lapic_ours) {
        (void)kvm_put_state(k); /* what fails is said there, and fails again before the CPU runs */
    }
}

void kvm_put_lapics(Kvm *kvm)
{
    for (unsigned i = 0; i < kvm->cpus->len; i++) {
        KvmCpu *k = g_ptr_array_index(kvm->cpus, i);
        if (k->lapic_ours) {
            cpu_run_on_wait(&k->cpu->parent, put_now, NULL);
        }
    }
}

bool kvm_put_state(KvmCpu *k)
{
    return put_special(k) && put_general(k) && put_extended(k) && kvm_put_msrs(k) && put_lapic(k) &&
           put_run_state(k) && put_debug(k) && put_events(k);
}

static void fetch(Cpu *cpu, void *opaque)
{
    KvmCpu *k = cpu->accel;
    if (k && !k->ours) {
        k->ours = kvm_get_state(k);
    }
}

void kvm_synchronize(Cpu *cpu)
{
    KvmCpu *k = cpu->accel;
    if (!k || k->ours) {
        return;
    }
    if (cpu == cpu_current()) {
        fetch(cpu, NULL);
    } else {
        cpu_run_on_wait(cpu, fetch, NULL);
    }
}
