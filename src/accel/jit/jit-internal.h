/*
 * What the translator's files share: the per-CPU structure that translated code runs on, blocks,
 * the software TLB, the code cache. docs/jit.md explains the shape.
 */
#ifndef ACCEL_JIT_JIT_INTERNAL_H
#define ACCEL_JIT_JIT_INTERNAL_H

#include <pthread.h>
#include <stdio.h>

#include "accel/accel.h"
#include "accel/jit/emit.h"
#include "accel/jit/sizes.h"
#include "cpu/x86/cpu.h"
#include "cpu/x86/mmu.h"

typedef struct Jit Jit;
typedef struct JitCpu JitCpu;
typedef struct JitBlock JitBlock;
typedef struct JitOp JitOp;

/* --- Counters: one list, printed by `info jit` --- */

#define JIT_COUNTERS(X)                                                 \
    X(blocks, "blocks translated")                                      \
    X(insns, "guest instructions translated")                           \
    X(careful, "careful single-instruction blocks")                     \
    X(alone, "times all other vCPUs were stopped to translate")         \
    X(chains, "direct jumps chained")                                   \
    X(invalidated, "blocks discarded because their code was written")   \
    X(cache_flushes, "code cache emptied because it was full")          \
    X(resolves, "memory accesses resolved out of line")                 \
    X(tlb_checks, "TLB checks in line")                                 \
    X(tlb_fills, "TLB entries filled")                                  \
    X(tlb_victims, "TLB entries taken back from the victim table")      \
    X(group_misses, "shared checks that were given up")                 \
    X(mmio_loads, "device loads")                                       \
    X(mmio_stores, "device stores")                                     \
    X(crossings, "accesses across a page end")                          \
    X(code_writes, "writes to pages that hold translated code")         \
    X(flush_pages, "TLB flushes of one page")                           \
    X(flush_spaces, "TLB flushes of one address space")                 \
    X(flush_all, "TLB flushes of everything")                           \
    X(flush_map, "TLB flushes because the memory map changed")          \
    X(flush_reuse, "TLB flushes because another space took the place")  \
    X(space_switches, "address space switches")                         \
    X(ops, "instructions run by helpers")                               \
    X(dispatches, "jump cache misses")                                  \
    X(exits, "returns to the main loop")                                \
    X(exits_translate, "... because code wasn't translated yet")        \
    X(exits_careful, "... to run one instruction carefully")            \
    X(exits_request, "... for interrupts and other requests")           \
    X(exits_halt, "... because the CPU halted")                         \
    X(exits_outside, "... for work from outside: pauses, the debugger") \
    X(exceptions, "exceptions delivered")                               \
    X(signals, "host signals turned into exceptions")                   \
    X(kicks, "kicks received")                                          \
    X(fpu_parks, "vector states saved")

typedef struct JitCounters {
#define X(name, help) uint64_t name;
    JIT_COUNTERS(X)
#undef X
} JitCounters;

/* --- Software TLB --- */

/* A tag is the page's linear address, or JIT_TAG_NONE. Translated code xors it with
 * the address and compares the result with the page's end. Only the vCPU's thread writes. */
typedef struct JitTlbEntry {
    uint64_t rtag, wtag;
    uint8_t *host; /* of the page's first byte */
    uint64_t global;
} JitTlbEntry;
/* For entry n: a page that belongs to another entry, so that no address matches. */
#define JIT_TAG_NONE(n) ((uint64_t)((n) ^ 1u) << 12)

enum { JIT_TABLE_USER, JIT_TABLE_KERNEL, JIT_TABLE_KERNEL_AC };

/* A fetch translation: where a page of code is in host memory. */
typedef struct JitFetch {
    uint64_t tag;
    uint8_t *host;
    bool global;
} JitFetch;

/* What is known of one address space (PCID) on one CPU. GS base points to the tables. */
typedef struct JitSpace {
    JitTlbEntry tables[JIT_TLB_TABLES][JIT_TLB_SIZE];
    JitTlbEntry victims[JIT_TLB_TABLES][JIT_VICTIM_SIZE];
    JitFetch fetch[JIT_FETCH_SIZE];
    unsigned victim_next[JIT_TLB_TABLES];
    unsigned used[JIT_TLB_TABLES]; /* fills since the last flush; 0: nothing to flush */
    uint16_t filled[JIT_TLB_TABLES][JIT_TLB_FILLS]; /* where the first of them went */
    unsigned pcid;
    bool valid;
    bool stale_code; /* write tags may point to pages that hold code by now */
    struct {
        uint64_t low, high; /* where large pages were met; low > high: nowhere */
    } large[2];             /* below, and in, the topmost 2 GiB */
    uint64_t last_used;
    uint64_t fetch_gone[JIT_FETCH_GONE_BITS / 64]; /* hashed pages that lost their place in fetch */
    uint32_t generation; /* jump cache keys of this space; changes with every flush that could
                            change where code is */
} JitSpace;

/* Jump cache: linear rip xor jump_key -> code. */
typedef struct JitJump {
    uint64_t tag;
    const uint8_t *code; /* the indirect entry */
} JitJump;

/* --- Per CPU: host RSP points here while translated code runs; helpers' frames lie below --- */

struct JitCpu {
    /* Guest registers without a host register, then what code needs most: disp8 from RSP. */
    uint64_t r10, r11, r14, r15;
    uint64_t rip_base; /* rip of the current code page's first byte: rip = rip_base + offset */
    uint64_t jump_key; /* JIT_KEY_POISON makes every jump cache lookup miss */
    X86State *state;
    uint64_t fs_base, gs_base; /* copies of state.seg[] */
    const void *poll;          /* read at back edges; points to nowhere when the CPU is kicked */
    uint64_t tmp, tmp2;
    uint32_t kick; /* atomic */
    bool fpu_live; /* x87 and vector state are the guest's, in registers; state.xsave is stale */

    uint64_t jump_rip;          /* target of the indirect jump under way */
    uint8_t *group[JIT_GROUPS]; /* host addresses that accesses of a block share */

    /* Beyond disp8. */
    uint8_t *host_stack; /* rsp of the loop that entered */
    JitSpace *space;
    JitJump jumps[JIT_JUMP_SIZE];

    uint8_t bounce[JIT_BOUNCE_BYTES] __attribute__((aligned(64)));
    struct {
        bool active; /* bounce stands for memory; if write, commit stores it */
        bool write;
        uint64_t linear;
        unsigned size;
    } bounced;

    Jit *jit;
    X86Cpu *cpu;
    void *loop_env[5]; /* __builtin_setjmp of the loop */
    JitSpace spaces[JIT_SPACES];
    uint64_t use_clock;
    uint32_t next_generation;   /* 12 bits */
    uint32_t kernel_generation; /* of code in global pages that supervisors run; 0: none yet */
    uint32_t modes[16];         /* numbered for jump keys */
    unsigned n_modes;
    uint32_t key_mode;  /* that jump_key was made for */
    bool ram_gone;      /* atomic: the memory map changed: host pointers are stale */
    uint32_t poll_word; /* what poll points to while nothing is wanted */
    /* Pages where this CPU discarded code that it is about to write over; NULL: none. Set with the
     * lock held, cleared behind the write: until then nobody translates from them. */
    const uint8_t *code_write[2];
    uint32_t pauses;        /* PAUSE instructions run */
    bool careful_next;      /* run one instruction in its careful form */
    bool stop_at_exception; /* leave jit_run() with it recorded instead of delivering it */
    bool signal_exit;       /* left through stubs.exit: tmp2 holds the flags */
    bool code_gone;         /* atomic: the jump cache is stale as a whole */
    bool block_gone;        /* this CPU discarded code: perhaps of the block it is in */
    /* icount: instructions of this turn: all, and those not yet charged (negative in translated
     * code that is about to leave); the block that was charged and may not have ended. */
    int64_t icount_turn, icount_left;
    const JitBlock *icount_block;
    uint64_t random; /* icount: state of RDRAND's generator */
    JitCounters counters;
    uint8_t *stack_bottom; /* of the mapping that holds stack and this */
    size_t mapping_bytes;
    struct JitTranslator *translator;
};

#define JIT_SLOTS_MANY UINT64_MAX
#define JIT_KEY_POISON UINT64_C(0xaaaa000000000000)

/* --- Blocks --- */

/* How a block's code treats memory. */
enum { JIT_VARIANT_FAST, JIT_VARIANT_CAREFUL };

typedef struct JitExit {
    JitBlock *from;
    uint8_t *rel;         /* writable address of the jump's rel32 */
    const uint8_t *stub;  /* where it goes while it isn't chained */
    JitBlock *to;         /* chained to */
    struct JitExit *next; /* in to->incoming */
    uint16_t offset;      /* target in the page */
} JitExit;

/* Host code of one guest instruction begins here: for signals. */
typedef struct JitMapEntry {
    uint32_t host; /* offset from the block's code */
    uint16_t insn; /* offset in the guest page */
} JitMapEntry;

/* Looking one up reads the first 64 bytes: one cache line. */
struct JitBlock {
    const uint8_t *source;  /* host address of the first guest byte */
    const uint8_t *source2; /* of the next page, if the one instruction lies in both; else NULL */
    uint32_t mode;
    uint8_t variant;
    bool valid;
    uint16_t offset;         /* in the page, of the first instruction */
    const uint8_t *code;     /* flags in host flags */
    const uint8_t *indirect; /* flags in RAX as LAHF, SETO AL leave them */
    JitBlock *hash_next;
    /* Atomic: where jump caches have it: four times slot + 1, or JIT_SLOTS_MANY. */
    uint64_t slots;
    uint32_t code_bytes;
    uint16_t length; /* guest bytes */
    uint8_t n_exits, n_map;
    uint16_t flags_in; /* arithmetic flags it may read before it writes them */
    /* Bytes beyond that decided which flags are dead: [look_start, look_end) page offsets. */
    uint16_t look_start[2], look_end[2];
    JitExit *exits;
    JitMapEntry *map;
    JitExit *incoming;
    JitBlock *page_next, *page2_next;
};

/* A host page that holds translated code. */
typedef struct JitPage {
    const uint8_t *host;
    RamBlock *ram;
    uint64_t ram_offset;
    JitBlock *blocks; /* through page_next, or page2_next where the block's second page is this */
    struct JitPage *hash_next;
} JitPage;

/* --- Physical memory as fast code sees it --- */

typedef struct JitRam {
    uint64_t phys, size;
    uint8_t *host;
    RamBlock *block;
    uint64_t offset; /* of host in block */
    bool readonly;
    bool logged; /* somebody wants to know every write */
} JitRam;

typedef struct JitRamMap {
    unsigned count;
    JitRam range[JIT_RAM_RANGES];
} JitRamMap;

/* --- The machine's translator. lock guards everything below it; hash chains may be read without,
 * because entries only go away while no vCPU runs. --- */

/* The runtime's own code, made at start: see stubs.c. */
typedef struct JitStubs {
    const uint8_t *enter;       /* C function: see JitEnterFn */
    const uint8_t *exit;        /* from code: guest registers in place, back to the loop */
    const uint8_t *leave;       /* from helpers: state is saved already, back to the loop */
    const uint8_t *resume;      /* from helpers: load registers, go on at RAX */
    const uint8_t *resolve;     /* R11: linear address -> host pointer; R10: info */
    const uint8_t *resolve_seg; /* the same for an offset in a segment */
    const uint8_t *commit;      /* careful variant, behind a write */
    const uint8_t *op;          /* R10: JitOp, R11: operand address */
    const uint8_t *dispatch;    /* R11: rip, RAX: flags */
    const uint8_t *chain;       /* R10: JitExit */
    const uint8_t *turn_over;   /* icount: the block at JitCpu.icount_block is too long */
} JitStubs;

struct Jit {
    pthread_mutex_t lock;
    int fd;
    uint8_t *rw, *rx; /* the two mappings of the code cache */
    size_t bytes;
    uint8_t *hot, *hot_start, *hot_end; /* writable alias */
    uint8_t *cold, *cold_start, *cold_end;
    JitStubs stubs;
    JitBlock *blocks[1u << JIT_BLOCK_HASH_BITS];
    JitPage *pages[1u << JIT_PAGE_HASH_BITS];
    GPtrArray *by_code;                              /* JitBlock in order of code address, owned */
    struct JitArena *arena;                          /* JitOp and the parts of blocks */
    uint8_t group_misses[1u << JIT_GROUP_MISS_BITS]; /* racy counters: a hint */
    unsigned code_epoch; /* atomic: grows when a page begins to hold code */
    JitRamMap *ram;      /* atomic: replaced as a whole */
    JitRamMap *ram_next; /* being built by the listener; machine lock */
    bool ram_changed;
    GPtrArray *ram_old; /* replaced maps, owned: readers may still look */
    MemoryListener listener;
    MemoryCodeHooks code_hooks;
    bool listening;
    FILE *perf_file; /* NULL: no perf map */
    /* Page offsets where some CPU has a breakpoint: code there asks first. */
    uint64_t break_offsets[4096 / 64];
    bool host_bmi2, host_xsavec;
    bool count_checks; /* TLB checks count themselves */
    bool icount;       /* blocks charge their instructions */
    bool unchained;    /* atomic: every block is entered through the dispatcher (-d nochain) */
    uint64_t xsave_mask;
    GPtrArray *cpus; /* JitCpu */
};

/* --- Helpers called from code by number of operands and state; see ops.c --- */

/* Runs one instruction. state.rip is at the instruction; ea is its memory operand's linear
 * address where it has one. Returns true to go on behind the instruction inside the block. */
typedef void JitOpFn(JitCpu *j, const JitOp *op, uint64_t ea);

struct JitOp {
    JitOpFn *fn;
    uint16_t offset;  /* of the instruction in the page */
    uint8_t length;   /* bytes */
    uint8_t opsize;   /* bytes: 1, 2, 4, 8 */
    uint8_t addrsize; /* bytes */
    uint8_t reg, rm;  /* guest registers, control register numbers, ... */
    bool rm_is_mem;
    uint8_t seg;
    uint8_t rep; /* 0, F2, F3 */
    uint8_t kind;
    bool ends;          /* the block ends here: the next instruction is found by state.rip */
    bool sets_rip;      /* fn sets state.rip itself */
    uint8_t flags_form; /* JIT_FLAGS_*: what RAX holds */
    uint64_t imm;
    const uint8_t *resume; /* code behind, for those that don't end the block */
};

/* How flags are kept in RAX while memory is checked. */
enum { JIT_FLAGS_NONE, JIT_FLAGS_CARRY, JIT_FLAGS_LAHF, JIT_FLAGS_ALL };

/* R10 of the resolve stubs. */
#define JIT_INFO_OFFSET     0x1fffu /* page offset of the instruction */
#define JIT_INFO_SIZE_SHIFT 13      /* 13 bits: bytes */
#define JIT_INFO_WRITE      (1u << 26)
#define JIT_INFO_READ       (1u << 27) /* both: read-modify-write */
#define JIT_INFO_CAREFUL    (1u << 28)
#define JIT_INFO_FORM_SHIFT 29 /* JIT_FLAGS_*, two bits */
/* and of resolve_seg, above: */
#define JIT_INFO_SEG_SHIFT 32
/* Bytes of several instructions: never raise. */
#define JIT_INFO_GROUP (UINT64_C(1) << 35)

/* --- emit helpers: guest registers --- */

/* Host register of a guest register; NOREG: in JitCpu. */
extern const int8_t jit_host_reg[16];
/* Its place in JitCpu, for those without a host register. */
Mem jit_slot(unsigned guest_reg);
#define JIT_FIELD(f) mem_at(RSP, (int32_t)offsetof(JitCpu, f))

/* Scratch registers: RAX, and these two. */
#define T1 R10
#define T2 R11

/* --- stubs.c --- */
typedef void JitEnterFn(JitCpu *j, const uint8_t *code, uint64_t rax);
void jit_make_stubs(Jit *jit);
static inline void jit_enter(JitCpu *j, const uint8_t *code, uint64_t rax)
{
    ((JitEnterFn *)(uintptr_t)j->jit->stubs.enter)(j, code, rax);
}

/* --- cache.c --- */
bool jit_cache_init(Jit *jit, Error **errp);
void jit_cache_finish(Jit *jit);
/* align: a power of two up to 64. */
void *jit_arena_alloc(Jit *jit, size_t bytes, size_t align);
/* Throw everything away. lock held, no vCPU in translated code. */
void jit_cache_flush(Jit *jit);
bool jit_cache_full(const Jit *jit);
static inline uint8_t *jit_rw(const Jit *jit, const uint8_t *rx)
{
    return jit->rw + (rx - jit->rx);
}
JitBlock *jit_find_block(const Jit *jit, const uint8_t *source, const uint8_t *source2,
                         uint32_t mode, uint8_t variant);
void jit_add_block(Jit *jit, JitBlock *b);
JitBlock *jit_block_at_code(const Jit *jit, const uint8_t *pc);
void jit_chain(Jit *jit, JitExit *x, JitBlock *to);
/* The page begins to hold code if it doesn't yet: from now on writes to it go the slow way. */
void jit_protect_page(Jit *jit, const uint8_t *host);
bool jit_page_is_protected(const Jit *jit, const uint8_t *host);
/* Bytes are about to be written from outside or by a slow path: discard what was made of them.
 * Returns true if the page holds no code (any more). lock held. */
bool jit_invalidate_range(Jit *jit, const uint8_t *host, uint64_t len);
JitPage *jit_find_page(const Jit *jit, const uint8_t *host);
/* The CPUs' breakpoints have changed: discard code in which they come or go. Takes lock. */
void jit_update_breaks(Jit *jit);

/* --- log.c: ordinary code, called with the FPU state parked --- */

/* A block is about to run (-d exec, cpu). */
void jit_log_entry(JitCpu *j, const JitBlock *b, uint64_t linear);
void jit_log_fill(JitCpu *j, uint64_t linear, const X86Translation *t, bool write);
void jit_log_flush(JitCpu *j, const char *what, uint64_t which);
void jit_log_discard(const JitBlock *b);
/* The log mask has changed. Machine lock held. */
void jit_log_changed(void *jit);

/* --- translate.c --- */
struct JitTranslator *jit_translator_new(void);
void jit_translator_free(struct JitTranslator *t);
/* Make a block for state.rip, whose bytes are at source (up to the page's end) and source2. lock
 * held, FPU state parked. */
JitBlock *jit_translate(JitCpu *j, uint64_t linear, const uint8_t *source, const uint8_t *source2,
                        uint8_t variant);

/* --- translate-group.c --- */
unsigned jit_group_slot(const uint8_t *insn);

/* --- tlb.c --- */
void jit_tlb_init(JitCpu *j);
void jit_tlb_hooks(X86Cpu *cpu);
void jit_space_flush(JitCpu *j, JitSpace *s);
void jit_tlb_flush_everything(JitCpu *j);
/* After anything that could change mode, space or code mappings. */
void jit_update_key(JitCpu *j);
/* A host pointer for an access; raises. NULL: it must go through the bounce buffer (stores of the
 * fast variant leave instead). */
uint8_t *jit_resolve(JitCpu *j, uint64_t linear, uint32_t info);
uint64_t jit_resolve_entry(JitCpu *j, uint64_t linear, uint64_t info, uint64_t flags);
uint64_t jit_resolve_seg_entry(JitCpu *j, uint64_t offset, uint64_t info, uint64_t flags);
void jit_commit_entry(JitCpu *j, uint64_t flags);
/* Where the byte at a linear address of code is; raises. */
const uint8_t *jit_fetch(JitCpu *j, uint64_t linear);
/* One page at a time, for string operations: raises; NULL if it isn't plain memory. */
uint8_t *jit_span(JitCpu *j, uint64_t linear, bool write, unsigned size);
const JitRam *jit_ram_find(const Jit *jit, uint64_t phys);
uint8_t *jit_probe(X86Cpu *cpu, uint64_t linear, unsigned access);
void jit_clear_jump(JitCpu *j, unsigned slot);
bool jit_may_remember(const JitCpu *j, uint64_t linear, uint64_t key);
void jit_drop_write_tags(JitCpu *j, const uint8_t *host);
/* What was to be written over code has been. */
static inline void jit_code_written(JitCpu *j)
{
    for (unsigned i = 0; i < ARRAY_LEN(j->code_write); i++) {
        __atomic_store_n(&j->code_write[i], NULL, __ATOMIC_RELEASE);
    }
}

/* --- jit-accel.c --- */
void jit_forget_frames(JitCpu *j);

/* --- exec.c --- */
void jit_unpark(JitCpu *j);
void jit_park_fpu(X86Cpu *cpu);
NORETURN void jit_raise_hook(X86Cpu *cpu);
NORETURN void jit_leave_careful(JitCpu *j);
const uint8_t *jit_dispatch_entry(JitCpu *j, uint64_t rip, uint64_t flags);
const uint8_t *jit_chain_entry(JitCpu *j, JitExit *x, uint64_t flags);
const uint8_t *jit_op_entry(JitCpu *j, const JitOp *op, uint64_t ea, uint64_t flags);
/* Leave translated code with cpu->debug_stop filled in. */
NORETURN void jit_leave_for_debugger(JitCpu *j);
void jit_merge_flags(JitCpu *j, uint64_t rax, unsigned form);
uint64_t jit_flags_rax(const X86State *s);
/* Run until something needs the caller: an exception was recorded, requests, halt. */
void jit_run(JitCpu *j);
JitCpu *jit_cpu_create(Jit *jit, X86Cpu *cpu, Error **errp);
void jit_cpu_destroy(JitCpu *j);
void jit_kick(JitCpu *j);
bool jit_signals_init(Error **errp);
extern __thread JitCpu *jit_this_cpu;
Jit *jit_create(Error **errp);
void jit_destroy(Jit *jit);
/* Follow the RAM of an address space. Machine lock held. */
void jit_watch_memory(Jit *jit, AddressSpace *as);
void jit_unwatch_memory(Jit *jit);
/* Add a range by hand (tests). */
void jit_add_ram(Jit *jit, const JitRam *r);

/* --- ops.c, string.c --- */
typedef struct JitInsn JitInsn;
/* The helper for an instruction that isn't re-emitted; NULL if it is. Fills op's operand fields. */
JitOpFn *jit_op_for(const JitInsn *in, JitOp *op);
void jit_op_pause(JitCpu *j, const JitOp *op, uint64_t ea);
const uint8_t *jit_turn_over_entry(JitCpu *j, uint64_t unused, uint64_t flags);
/* Instructions of the charged block that weren't run: from state.rip on. */
unsigned jit_icount_unrun(const JitCpu *j);
void jit_op_random(JitCpu *j, const JitOp *op, uint64_t ea);
void jit_op_breakpoint(JitCpu *j, const JitOp *op, uint64_t ea);
void jit_op_misaligned(JitCpu *j, const JitOp *op, uint64_t ea);
bool jit_string_op(const JitInsn *in, JitOp *op);
bool jit_vector_op(const JitInsn *in, JitOp *op);

static inline bool jit_offset_has_break(const Jit *jit, unsigned offset)
{
    return UNLIKELY(jit->break_offsets[offset / 64] >> (offset % 64) & 1);
}

static inline uint64_t jit_linear_rip(const X86State *s)
{
    return s->mode & X86_MODE_CS64 ? s->rip : (uint32_t)(s->rip + s->seg[X86_CS].base);
}
/* May the jump cache and rip_base & ~0xfff be used? */
static inline bool jit_mode_flat_code(uint32_t mode)
{
    return mode & (X86_MODE_CS64 | X86_MODE_CS_BASE0);
}

#endif
