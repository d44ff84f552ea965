/*
 * Can this host run a guest? /dev/kvm may open and still be of no use: it may be another
 * architecture's, too old, or unable to run what a PC needs (nested, restricted or emulated
 * virtualization). So a few instructions run in each mode, in a machine that is thrown away, with a
 * time limit.
 *
 * A thread of its own does the work, because an ioctl of a broken host may not come back: whoever
 * asked waits so long and no longer. Nothing of the real machine is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/kvm/kvm-internal.h"
#include "base/fault.h"
#include "event/clock.h"

#define PROBE_SECONDS  5 /* a few milliseconds are usual */
#define MERCY_SECONDS  1 /* for the thread to notice that it is not wanted any more */
#define PROBE_RAM      0x10000
#define PROBE_CODE     0x1000
#define PROBE_PML4     0x8000
#define PROBE_TSS_ADDR 0xfffbd000 /* below the BIOS, as the kernel's documentation suggests */
#define PROBE_PORT     0x80
#define PROBE_RUNS_MAX 64

/* What the code below writes to the port, in this order. */
static const char *const stages[] = { "real mode",   "protected mode", "64-bit mode", "64-bit mode",
                                      "64-bit mode", "64-bit mode",    "user mode" };
/* The stages that end a loop in 64-bit mode, whose time is taken; the shortest counts. */
enum { LOOP_FIRST = 3, LOOP_LAST = 5, LOOP_INSTRUCTIONS = 2 * 2000 };

/*
 * Real mode at 0:1000h, then 32-bit and 64-bit code, then ring 3 with IOPL 3. Tables of pages are
 * made by prepare().
 */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "kvm_probe_code:\n"
        ".code16\n"
        "1:  movb $0, %al\n"
        "    outb %al, $0x80\n"
        "    lgdtl %cs:(9f - 1b + 0x1000)\n"
        "    movl %cr0, %eax\n"
        "    orl $1, %eax\n"
        "    movl %eax, %cr0\n"
        "    ljmpl $8, $(2f - 1b + 0x1000)\n"
        ".code32\n"
        "2:  movl $0x10, %eax\n"
        "    movl %eax, %ds\n"
        "    movl %eax, %ss\n"
        "    movb $1, %al\n"
        "    outb %al, $0x80\n"
        "    movl %cr4, %eax\n"
        "    orl $0x20, %eax\n" /* PAE */
        "    movl %eax, %cr4\n"
        "    movl $0x8000, %eax\n"
        "    movl %eax, %cr3\n"
        "    movl $0xc0000080, %ecx\n"
        "    rdmsr\n"
        "    orl $0x100, %eax\n" /* LME */
        "    wrmsr\n"
        "    movl %cr0, %eax\n"
        "    orl $0x80000000, %eax\n"
        "    movl %eax, %cr0\n"
        "    ljmpl $0x18, $(3f - 1b + 0x1000)\n"
        ".code64\n"
        "3:  movb $2, %al\n"
        "7:  outb %al, $0x80\n"
        "    movl $2000, %ecx\n"
        "8:  decl %ecx\n"
        "    jnz 8b\n"
        "    incb %al\n"
        "    cmpb $5, %al\n"
        "    jne 7b\n"
        "    outb %al, $0x80\n"
        "    pushq $0x2b\n"
        "    pushq $0x7000\n"
        "    pushq $0x3002\n" /* IOPL 3 */
        "    pushq $0x23\n"
        "    pushq $(4f - 1b + 0x1000)\n"
        "    iretq\n"
        "4:  movb $6, %al\n"
        "    outb %al, $0x80\n"
        "5:  jmp 5b\n"
        ".balign 8\n"
        "6:  .quad 0\n"
        "    .quad 0x00cf9b000000ffff\n" /* 08: 32-bit code */
        "    .quad 0x00cf93000000ffff\n" /* 10: data */
        "    .quad 0x00af9b000000ffff\n" /* 18: 64-bit code */
        "    .quad 0x00affb000000ffff\n" /* 20: 64-bit code of ring 3 */
        "    .quad 0x00cff3000000ffff\n" /* 28: data of ring 3 */
        "9:  .word 9b - 6b - 1\n"
        "    .long 6b - 1b + 0x1000\n"
        "kvm_probe_end:\n"
        ".popsection\n");
extern const uint8_t kvm_probe_code[], kvm_probe_end[];

/* What the kernel must have; without, it is too old to be worth the trouble. */
static const struct {
    int cap;
    const char *name;
} needed[] = {
    { KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
    { KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS" },
    { KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS" },
    { KVM_CAP_SYNC_MMU, "KVM_CAP_SYNC_MMU" },
    { KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
    { KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
    { KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
    { KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
    { KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS" },
    { KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },
    { KVM_CAP_XCRS, "KVM_CAP_XCRS" },
    { KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ" },
    { KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

/* Shared by the one who waits and the thread; the last of them frees it. */
typedef struct Probe {
    GMutex lock;
    GCond cond;
    bool done; /* lock */
    int refs;  /* atomic */
    Error *error;
    char *device;
    struct kvm_run *run; /* lock; NULL: not mapped */
    /* the thread's own */
    int fd, vm, vcpu, run_bytes;
    uint8_t *ram;
    unsigned stage;
    int64_t loop_ns; /* the shortest time of a loop */
} Probe;

static void probe_unref(Probe *p)
{
    if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    g_mutex_clear(&p->lock);
    g_cond_clear(&p->cond);
    error_free(p->error);
    g_free(p->device);
    g_free(p);
}

static bool open_device(Probe *p, Error **errp)
{
    if (FAULT("KVM device", errp)) {
        return false;
    }
    p->fd = open(p->device, O_RDWR | O_CLOEXEC);
    if (p->fd < 0) {
        int e = errno;
        error_set_errno(errp, e, "can't open '%s'%s", p->device,
                        e == EACCES || e == EPERM ? " (join its group, usually 'kvm')"
                        : e == ENOENT             ? " (no KVM module, or not passed into this "
                                                    "container)"
                                                  : "");
        return false;
    }
    int version = ioctl(p->fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        if (version < 0) {
            error_set(errp, "'%s' is no KVM device", p->device);
        } else {
            error_set(errp, "'%s' speaks version %d of KVM's interface, %d is needed", p->device,
                      version, KVM_API_VERSION);
        }
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(needed); i++) {
        if (ioctl(p->fd, KVM_CHECK_EXTENSION, (long)needed[i].cap) <= 0) {
            error_set(errp, "the host's kernel is too old: %s is missing", needed[i].name);
            return false;
        }
    }
    return true;
}

static bool make_machine(Probe *p, Error **errp)
{
    if (FAULT("KVM test machine", errp)) {
        return false;
    }
    p->vm = ioctl(p->fd, KVM_CREATE_VM, 0L);
    if (p->vm < 0) {
        int e = errno;
        error_set_errno(errp, e, "the kernel makes no virtual machine%s",
                        e == EBUSY ? " (another hypervisor has the processor's extensions)" : "");
        return false;
    }
    /* Where the processor can't run real mode, the kernel keeps a task there. Refusal is no harm.
     */
    (void)ioctl(p->vm, KVM_SET_TSS_ADDR, (unsigned long)PROBE_TSS_ADDR);
    p->ram = mmap(NULL, PROBE_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->ram == MAP_FAILED) {
        p->ram = NULL;
        error_set_errno(errp, errno, "no memory to try it");
        return false;
    }
    struct kvm_userspace_memory_region region = {
        .memory_size = PROBE_RAM,
        .userspace_addr = (uintptr_t)p->ram,
    };
    if (ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        error_set_errno(errp, errno, "the kernel takes no guest memory");
        return false;
    }
    p->vcpu = ioctl(p->vm, KVM_CREATE_VCPU, 0L);
    p->run_bytes = ioctl(p->fd, KVM_GET_VCPU_MMAP_SIZE, 0L);
    if (p->vcpu < 0 || p->run_bytes < (int)sizeof(struct kvm_run)) {
        error_set_errno(errp, errno, "the kernel makes no vCPU");
        return false;
    }
    void *run = mmap(NULL, (size_t)p->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
    if (run == MAP_FAILED) {
        error_set_errno(errp, errno, "can't map a vCPU's page");
        return false;
    }
    g_mutex_lock(&p->lock);
    p->run = run;
    g_mutex_unlock(&p->lock);
    return true;
}

#define CPUID_ROOM 128

static bool prepare(Probe *p, Error **errp)
{
    g_autofree struct kvm_cpuid2 *cpuid =
        g_malloc0(sizeof(*cpuid) + CPUID_ROOM * sizeof(cpuid->entries[0]));
    struct kvm_sregs sregs;
    struct kvm_regs regs = { .rip = PROBE_CODE, .rflags = 2, .rsp = PROBE_PML4 };

    cpuid->nent = CPUID_ROOM;
    memcpy(p->ram + PROBE_CODE, kvm_probe_code, (size_t)(kvm_probe_end - kvm_probe_code));
    /* One table a level, one large page at the end: present, writable, for users. */
    uint64_t *table = (uint64_t *)(void *)(p->ram + PROBE_PML4);
    table[0] = (PROBE_PML4 + 0x1000) | 7;
    table[512] = (PROBE_PML4 + 0x2000) | 7;
    table[1024] = 0x87;
    if (ioctl(p->fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 ||
        ioctl(p->vcpu, KVM_SET_CPUID2, cpuid) < 0 || ioctl(p->vcpu, KVM_GET_SREGS, &sregs) < 0) {
        error_set_errno(errp, errno, "the kernel gives no registers");
        return false;
    }
    sregs.cs.selector = 0;
    sregs.cs.base = 0;
    if (ioctl(p->vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(p->vcpu, KVM_SET_REGS, &regs) < 0) {
        error_set_errno(errp, errno, "the kernel takes no registers");
        return false;
    }
    return true;
}

static const char *where(const Probe *p)
{
    return stages[MIN_OF(p->stage, ARRAY_LEN(stages) - 1)];
}

static bool run(Probe *p, Error **errp)
{
    struct kvm_run *r = p->run;

    for (unsigned i = 0; i < PROBE_RUNS_MAX && p->stage < ARRAY_LEN(stages); i++) {
        if (FAULT("KVM test run", errp)) {
            return false;
        }
        int64_t began = clock_now(CLK_REALTIME);
        if (ioctl(p->vcpu, KVM_RUN, 0L) < 0) {
            error_set_errno(errp, errno, "guest code doesn't run in %s", where(p));
            return false;
        }
        if (p->stage >= LOOP_FIRST && p->stage <= LOOP_LAST) {
            p->loop_ns = MIN_OF(p->loop_ns, clock_now(CLK_REALTIME) - began);
        }
        if (r->exit_reason != KVM_EXIT_IO || r->io.port != PROBE_PORT || r->io.size != 1) {
            error_set(errp, "guest code doesn't run in %s: exit reason %u%s", where(p),
                      r->exit_reason,
                      r->exit_reason == KVM_EXIT_INTERNAL_ERROR ? " (an instruction the kernel "
                                                                  "can't emulate)"
                                                                : "");
            return false;
        }
        uint8_t value = ((const uint8_t *)r)[r->io.data_offset];
        if (r->io.direction != KVM_EXIT_IO_OUT || value != p->stage) {
            error_set(errp, "guest code runs wrong in %s: wrote %u instead of %u", where(p), value,
                      p->stage);
            return false;
        }
        p->stage++;
    }
    return true;
}

static void throw_away(Probe *p)
{
    g_mutex_lock(&p->lock);
    struct kvm_run *run = g_steal_pointer(&p->run);
    g_mutex_unlock(&p->lock);
    if (run) {
        munmap(run, (size_t)p->run_bytes);
    }
    if (p->vcpu >= 0) {
        close(p->vcpu);
    }
    if (p->vm >= 0) {
        close(p->vm);
    }
    if (p->fd >= 0) {
        close(p->fd);
    }
    if (p->ram) {
        munmap(p->ram, PROBE_RAM);
    }
}

static void *probe_thread(void *opaque)
{
    Probe *p = opaque;
    Error *err = NULL;

    (void)(open_device(p, &err) && make_machine(p, &err) && prepare(p, &err) && run(p, &err));
    g_mutex_lock(&p->lock);
    p->error = err;
    p->done = true;
    g_cond_signal(&p->cond);
    g_mutex_unlock(&p->lock);
    throw_away(p); /* which takes the kernel longer than all of the above */
    probe_unref(p);
    return NULL;
}

static bool wait_done(Probe *p, int seconds)
{
    gint64 end = g_get_monotonic_time() + seconds * G_TIME_SPAN_SECOND;
    while (!p->done) {
        if (!g_cond_wait_until(&p->cond, &p->lock, end)) {
            break;
        }
    }
    return p->done;
}

bool kvm_probe(const char *device, double *mips, pthread_t *cleaner, Error **errp)
{
    Probe *p = g_new0(Probe, 1);
    pthread_t thread;

    g_mutex_init(&p->lock);
    g_cond_init(&p->cond);
    p->refs = 2;
    p->device = g_strdup(device);
    p->fd = p->vm = p->vcpu = -1;
    p->loop_ns = INT64_MAX;
    kvm_install_kick_handler();
    int err = pthread_create(&thread, NULL, probe_thread, p);
    if (err) {
        error_set_errno(errp, err, "no thread to try it");
        p->refs = 1;
        probe_unref(p);
        return false;
    }
    g_mutex_lock(&p->lock);
    bool done = wait_done(p, PROBE_SECONDS);
    if (!done) {
        /* It ends by itself if the host lets it. */
        if (p->run) {
            __atomic_store_n(&p->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        }
        pthread_kill(thread, KVM_KICK_SIGNAL);
        done = wait_done(p, MERCY_SECONDS);
        error_free(p->error);
        p->error = NULL;
        error_set(&p->error, "guest code didn't get through %s within %d seconds", where(p),
                  PROBE_SECONDS);
    }
    Error *found = p->error;
    *mips = LOOP_INSTRUCTIONS * 1e3 / (p->loop_ns > 0 ? p->loop_ns : 1);
    p->error = NULL;
    g_mutex_unlock(&p->lock);
    probe_unref(p);
    if (!found) {
        *cleaner = thread;
        return true;
    }
    if (done) {
        pthread_join(thread, NULL);
    } else {
        pthread_detach(thread);
    }
    error_propagate(errp, found);
    return false;
}
