/*
 * The conversation with gdb. A row of `commands` is a packet's beginning and what answers it; what
 * isn't there gets the empty answer, which is how gdb learns what a stub can't do.
 */
#include "gdbstub/session.h"

#include <inttypes.h>
#include <string.h>

#include "event/clock.h"
#include "gdbstub/packet.h"
#include "gdbstub/registers.h"
#include "monitor/hmp.h"
#include "object/lifecycle.h"

/* Signals as gdb numbers them: GDB manual, "Host I/O" and include/gdb/signals. */
enum {
    GDB_SIGNAL_0 = 0,
    GDB_SIGNAL_INT = 2,
    GDB_SIGNAL_QUIT = 3,
    GDB_SIGNAL_TRAP = 5,
    GDB_SIGNAL_ABRT = 6,
    GDB_SIGNAL_ALRM = 14,
    GDB_SIGNAL_IO = 23,
    GDB_SIGNAL_XCPU = 24,
};

/* How single steps are made: bits of the packet qqemu.sstep, which scripts of the field use. */
enum {
    STEP_ENABLE = 1,
    STEP_NO_IRQ = 2,
    STEP_NO_TIMER = 4,
    STEP_ALL = 7,
};

/* Answers. */
#define E_INVALID "E22"
#define E_FAULT   "E14"

/* Bytes of memory in one answer: two digits each, and a letter in front. */
#define MEMORY_MAX (GDB_PACKET_MAX / 2 - 1)

struct GdbSession {
    GdbSendFn *send;
    void *opaque;
    GdbParser parser;
    GString *reply; /* of the packet being answered */
    GString *sent;  /* framed, for another time */
    GdbRegisters *registers;
    bool connected, no_ack;
    bool silent;  /* the packet isn't answered, or not now */
    bool waiting; /* gdb has let the machine go on and waits for it to stop */
    bool physical;
    bool tells_swbreak, tells_hwbreak; /* gdb wants to know */
    unsigned step_flags;
    int stop_thread;   /* of the last stop */
    int g_thread;      /* whose registers and memory */
    int c_thread;      /* whom 'c' and 's' are about; 0: any, -1: all */
    unsigned list_pos; /* of qsThreadInfo */
};

/* --- Threads --- */

static Cpu *cpu_of(int thread)
{
    return thread > 0 ? cpu_by_index((unsigned)thread - 1) : NULL;
}

static int thread_of(const Cpu *cpu)
{
    return cpu->index + 1;
}

static Cpu *g_cpu(GdbSession *s)
{
    Cpu *cpu = cpu_of(s->g_thread);
    return cpu ? cpu : cpu_by_index(0);
}

static X86Cpu *x86_of(Cpu *cpu)
{
    return (X86Cpu *)object_dynamic_cast(&cpu->parent.parent, TYPE_X86_CPU);
}

/* "-1", "0", a number; also "p1.N". */
static bool parse_thread(const char **text, int *thread)
{
    uint64_t v;
    if (**text == 'p') {
        (*text)++;
        if (!gdb_hex_number(text, &v)) {
            return false;
        }
        if (**text != '.') {
            *thread = -1;
            return true;
        }
        (*text)++;
    }
    if (g_str_has_prefix(*text, "-1")) {
        *text += 2;
        *thread = -1;
        return true;
    }
    if (!gdb_hex_number(text, &v) || v > cpu_count()) {
        return false;
    }
    *thread = (int)v;
    return true;
}

/* --- Sending --- */

static void send_packet(GdbSession *s, const char *data, size_t len)
{
    g_string_truncate(s->sent, 0);
    gdb_packet_frame(s->sent, data, len);
    s->send(s->opaque, s->sent->str, s->sent->len);
}

static void say(GdbSession *s, const char *text)
{
    g_string_append(s->reply, text);
}

/* --- Stopping and going on --- */

static void append_stop_reason(GdbSession *s, GString *out, const Cpu *cpu)
{
    static const char *const watch[] = {
        [CPU_WATCH_READ] = "rwatch", [CPU_WATCH_WRITE] = "watch", [CPU_WATCH_ACCESS] = "awatch"
    };
    switch (cpu->debug_stop.reason) {
    case CPU_STOP_WATCHPOINT:
        g_string_append_printf(out, "%s:%" PRIx64 ";", watch[cpu->debug_stop.kind],
                               cpu->debug_stop.addr);
        break;
    case CPU_STOP_BREAKPOINT:
        if (cpu->debug_stop.kind == CPU_BREAK_SOFTWARE ? s->tells_swbreak : s->tells_hwbreak) {
            g_string_append(out,
                            cpu->debug_stop.kind == CPU_BREAK_SOFTWARE ? "swbreak:;" : "hwbreak:;");
        }
        break;
    default:
        break;
    }
}

static void append_stop(GdbSession *s, GString *out, int signal)
{
    const Cpu *cpu = cpu_of(s->stop_thread);
    g_string_append_printf(out, "T%02xthread:%02x;", (unsigned)signal, (unsigned)s->stop_thread);
    if (cpu && signal == GDB_SIGNAL_TRAP) {
        append_stop_reason(s, out, cpu);
    }
}

static int signal_of_state(RunState state)
{
    switch (state) {
    case RUN_STATE_DEBUG:
        return GDB_SIGNAL_TRAP;
    case RUN_STATE_PAUSED:
        return GDB_SIGNAL_INT;
    case RUN_STATE_SHUTDOWN:
        return GDB_SIGNAL_QUIT;
    case RUN_STATE_IO_ERROR:
        return GDB_SIGNAL_IO;
    case RUN_STATE_WATCHDOG:
        return GDB_SIGNAL_ALRM;
    case RUN_STATE_INTERNAL_ERROR:
    case RUN_STATE_GUEST_PANICKED:
        return GDB_SIGNAL_ABRT;
    case RUN_STATE_FINISH_MIGRATE:
        return GDB_SIGNAL_XCPU;
    case RUN_STATE_SAVE_VM:
    case RUN_STATE_RESTORE_VM:
        return -1; /* it goes on at once */
    default:
        return GDB_SIGNAL_0;
    }
}

static void forget_steps(void)
{
    Cpu *cpu;
    CPU_FOREACH(cpu)
    {
        cpu_set_single_step(cpu, false, false);
        cpu_set_held(cpu, false);
    }
}

void gdb_session_cpu_stopped(GdbSession *s, Cpu *cpu)
{
    s->stop_thread = thread_of(cpu);
}

void gdb_session_machine_stopped(GdbSession *s, RunState state)
{
    int signal = signal_of_state(state);
    Cpu *cpu;
    if (!s->waiting || signal < 0) {
        return;
    }
    s->waiting = false;
    CPU_FOREACH(cpu)
    {
        cpu_synchronize_state(cpu);
    }
    forget_steps();
    if (!cpu_of(s->stop_thread)) {
        s->stop_thread = 1;
    }
    s->g_thread = s->c_thread = s->stop_thread;
    g_autoptr(GString) out = g_string_new(NULL);
    append_stop(s, out, signal);
    send_packet(s, out->str, out->len);
}

void gdb_session_exiting(GdbSession *s, int status)
{
    if (s->connected) {
        char text[16];
        g_snprintf(text, sizeof(text), "W%02x", (unsigned)status & 0xff);
        send_packet(s, text, strlen(text));
    }
}

/* A CPU that hit a watchpoint while another one's stop was told: its turn now. */
static bool report_leftover(GdbSession *s)
{
    Cpu *cpu, *told = cpu_of(s->stop_thread);
    CPU_FOREACH(cpu)
    {
        if (cpu == told || cpu->debug_stop.reason != CPU_STOP_WATCHPOINT) {
            cpu->debug_stop.reason = CPU_STOP_NONE; /* breakpoints are simply met again */
        }
    }
    CPU_FOREACH(cpu)
    {
        if (cpu->debug_stop.reason == CPU_STOP_WATCHPOINT && cpu->watching) {
            s->stop_thread = s->g_thread = s->c_thread = thread_of(cpu);
            append_stop(s, s->reply, GDB_SIGNAL_TRAP);
            return true;
        }
        cpu->debug_stop.reason = CPU_STOP_NONE;
    }
    return false;
}

static bool may_run(void)
{
    return !run_state_needs_reset() && !run_state_is(RUN_STATE_INMIGRATE) &&
           run_state_transition_valid(run_state_get(), RUN_STATE_RUNNING);
}

/* Let the CPUs go on that aren't held. No answer now: the stop is it. */
static void go_on(GdbSession *s, bool stepping)
{
    if (!may_run()) {
        say(s, E_INVALID);
        forget_steps();
        return;
    }
    if (report_leftover(s)) {
        forget_steps();
        return;
    }
    s->waiting = s->silent = true;
    vm_start();
    if (stepping && (s->step_flags & STEP_NO_TIMER)) {
        clock_virtual_set_running(false);
    }
}

static void step_cpu(GdbSession *s, Cpu *cpu)
{
    cpu_set_single_step(cpu, s->step_flags & STEP_ENABLE, s->step_flags & STEP_NO_IRQ);
}

static void set_pc_if_given(GdbSession *s, const char *args)
{
    uint64_t addr;
    Cpu *cpu = cpu_of(s->c_thread) ? cpu_of(s->c_thread) : g_cpu(s);
    if (cpu && gdb_hex_number(&args, &addr)) {
        cpu_class_of(cpu)->set_pc(cpu, addr);
        cpu_state_changed(cpu);
    }
}

static const char *skip_signal(const char *args)
{
    uint64_t signal;
    if (!gdb_hex_number(&args, &signal)) {
        return "";
    }
    return *args == ';' ? args + 1 : args;
}

static void cmd_continue(GdbSession *s, const char *args)
{
    set_pc_if_given(s, args);
    go_on(s, false);
}

static void cmd_continue_signal(GdbSession *s, const char *args)
{
    cmd_continue(s, skip_signal(args));
}

static void cmd_step(GdbSession *s, const char *args)
{
    Cpu *cpu, *one = cpu_of(s->c_thread) ? cpu_of(s->c_thread) : g_cpu(s);
    set_pc_if_given(s, args);
    CPU_FOREACH(cpu)
    {
        if (cpu == one) {
            step_cpu(s, cpu);
        } else {
            cpu_set_held(cpu, true);
        }
    }
    go_on(s, true);
}

static void cmd_step_signal(GdbSession *s, const char *args)
{
    cmd_step(s, skip_signal(args));
}

/* vCont;action[:thread];... The first that fits a thread counts; threads without one stay. */
static void cmd_vcont(GdbSession *s, const char *args)
{
    g_autofree char *actions = g_malloc0(cpu_count() + 1);
    bool stepping = false, any = false;
    Cpu *cpu;
    while (*args == ';') {
        int thread = -1;
        char action = *++args;
        if (!action || !strchr("cCsS", action)) {
            say(s, E_INVALID);
            return;
        }
        args++;
        if (action == 'C' || action == 'S') {
            uint64_t signal;
            if (!gdb_hex_number(&args, &signal)) {
                say(s, E_INVALID);
                return;
            }
            action = (char)g_ascii_tolower(action);
        }
        if (*args == ':') {
            args++;
            if (!parse_thread(&args, &thread)) {
                say(s, E_INVALID);
                return;
            }
            thread = thread ? thread : s->stop_thread;
        }
        CPU_FOREACH(cpu)
        {
            char *mine = &actions[cpu->index];
            if (!*mine && (thread < 0 || thread == thread_of(cpu))) {
                *mine = action;
                any = true;
                stepping |= action == 's';
            }
        }
    }
    if (*args || !any) {
        say(s, E_INVALID);
        return;
    }
    CPU_FOREACH(cpu)
    {
        cpu_set_held(cpu, !actions[cpu->index]);
        if (actions[cpu->index] == 's') {
            step_cpu(s, cpu);
        }
    }
    go_on(s, stepping);
}

static void cmd_vcont_query(GdbSession *s, const char *args)
{
    say(s, "vCont;c;C;s;S");
}

static void interrupt(GdbSession *s)
{
    if (s->waiting && vm_is_running()) {
        vm_stop(RUN_STATE_PAUSED);
    }
}

static void cmd_stop_reason(GdbSession *s, const char *args)
{
    s->g_thread = s->c_thread = s->stop_thread;
    append_stop(s, s->reply, GDB_SIGNAL_TRAP);
}

static void forget_breakpoints(void)
{
    Cpu *cpu;
    CPU_FOREACH(cpu)
    {
        cpu_breakpoints_clear(cpu);
    }
}

static void cmd_detach(GdbSession *s, const char *args)
{
    Cpu *cpu;
    forget_breakpoints();
    forget_steps();
    CPU_FOREACH(cpu)
    {
        cpu->debug_stop.reason = CPU_STOP_NONE;
    }
    if (may_run()) {
        vm_start();
    }
    say(s, "OK");
}

static void cmd_kill(GdbSession *s, const char *args)
{
    s->silent = true;
    lifecycle_request_shutdown(SHUTDOWN_CAUSE_HOST_UI);
}

static void cmd_vkill(GdbSession *s, const char *args)
{
    cmd_kill(s, args);
    s->silent = false;
    say(s, "OK");
}

/* --- Registers --- */

static GdbRegisters *registers(GdbSession *s)
{
    Cpu *cpu = g_cpu(s);
    if (!s->registers && cpu && x86_of(cpu)) {
        s->registers = gdb_registers_new(x86_of(cpu));
    }
    return s->registers;
}

static void cmd_read_registers(GdbSession *s, const char *args)
{
    GdbRegisters *regs = registers(s);
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    if (!regs) {
        say(s, E_INVALID);
        return;
    }
    for (unsigned i = 0; i < gdb_registers_count(regs); i++) {
        unsigned len = gdb_register_read(regs, x86_of(g_cpu(s)), i, value);
        gdb_hex_append(s->reply, value, len);
    }
}

static void cmd_write_registers(GdbSession *s, const char *args)
{
    GdbRegisters *regs = registers(s);
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    if (!regs) {
        say(s, E_INVALID);
        return;
    }
    for (unsigned i = 0; i < gdb_registers_count(regs); i++) {
        unsigned size = gdb_register_size(regs, i);
        if (gdb_hex_decode(args, value, size) < size) {
            break;
        }
        /* those that can't be written come back as they were read */
        (void)gdb_register_write(regs, x86_of(g_cpu(s)), i, value, size);
        args += 2 * size;
    }
    cpu_state_changed(g_cpu(s));
    say(s, "OK");
}

static void cmd_read_register(GdbSession *s, const char *args)
{
    GdbRegisters *regs = registers(s);
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    uint64_t n;
    unsigned len = 0;
    if (regs && gdb_hex_number(&args, &n) && n < gdb_registers_count(regs)) {
        len = gdb_register_read(regs, x86_of(g_cpu(s)), (unsigned)n, value);
    }
    if (!len) {
        say(s, E_INVALID);
        return;
    }
    gdb_hex_append(s->reply, value, len);
}

static void cmd_write_register(GdbSession *s, const char *args)
{
    GdbRegisters *regs = registers(s);
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    uint64_t n;
    if (!regs || !gdb_hex_number(&args, &n) || n >= gdb_registers_count(regs) || *args != '=') {
        say(s, E_INVALID);
        return;
    }
    size_t len = gdb_hex_decode(args + 1, value, sizeof(value));
    bool ok = gdb_register_write(regs, x86_of(g_cpu(s)), (unsigned)n, value, len);
    cpu_state_changed(g_cpu(s));
    say(s, ok ? "OK" : E_INVALID);
}

/* --- Memory --- */

static bool memory_access(GdbSession *s, uint64_t addr, uint8_t *buf, uint64_t len, bool write)
{
    Cpu *cpu = g_cpu(s);
    if (!cpu) {
        return false;
    }
    if (!s->physical) {
        return write ? cpu_debug_write(cpu, addr, buf, len) : cpu_debug_read(cpu, addr, buf, len);
    }
    return (write ? address_space_write_rom(cpu->memory, addr, buf, len)
                  : address_space_read(cpu->memory, addr, MEMTXATTRS_UNSPECIFIED, buf, len)) ==
           MEMTX_OK;
}

/* As much as there is before the first hole. */
static size_t read_memory(GdbSession *s, uint64_t addr, uint8_t *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        size_t part = MIN_OF(len - done, 4096 - (size_t)((addr + done) & 4095));
        if (!memory_access(s, addr + done, buf + done, part, false)) {
            break;
        }
        done += part;
    }
    return done;
}

/* "addr,length" */
static bool parse_range(const char **args, uint64_t *addr, uint64_t *len)
{
    if (!gdb_hex_number(args, addr) || **args != ',') {
        return false;
    }
    (*args)++;
    return gdb_hex_number(args, len);
}

static uint8_t *read_range(GdbSession *s, const char *args, size_t *done, uint64_t *wanted)
{
    uint64_t addr;
    if (!parse_range(&args, &addr, wanted)) {
        return NULL;
    }
    uint8_t *buf = g_malloc(MEMORY_MAX);
    *done = read_memory(s, addr, buf, MIN_OF(*wanted, (uint64_t)MEMORY_MAX));
    return buf;
}

static void reply_hex(GdbSession *s, const uint8_t *buf, size_t len)
{
    gdb_hex_append(s->reply, buf, len);
}

static void reply_binary(GdbSession *s, const uint8_t *buf, size_t len)
{
    say(s, "b");
    /* each byte may be sent as two */
    g_string_append_len(s->reply, (const char *)buf, (gssize)MIN_OF(len, (size_t)MEMORY_MAX));
}

static void reply_memory(GdbSession *s, const char *args,
                         void (*reply)(GdbSession *s, const uint8_t *buf, size_t len))
{
    size_t done;
    uint64_t wanted;
    g_autofree uint8_t *buf = read_range(s, args, &done, &wanted);
    if (!buf) {
        say(s, E_INVALID);
    } else if (!done && wanted) {
        say(s, E_FAULT);
    } else {
        reply(s, buf, done);
    }
}

static void cmd_read_memory(GdbSession *s, const char *args)
{
    reply_memory(s, args, reply_hex);
}

static void cmd_read_memory_binary(GdbSession *s, const char *args)
{
    reply_memory(s, args, reply_binary);
}

static void cmd_write_memory(GdbSession *s, const char *args)
{
    uint64_t addr, len;
    if (!parse_range(&args, &addr, &len) || *args != ':' || len > GDB_PACKET_MAX / 2) {
        say(s, E_INVALID);
        return;
    }
    g_autofree uint8_t *buf = g_malloc(len + 1);
    if (gdb_hex_decode(args + 1, buf, len) != len) {
        say(s, E_INVALID);
        return;
    }
    say(s, memory_access(s, addr, buf, len, true) ? "OK" : E_FAULT);
}

static void cmd_write_memory_binary(GdbSession *s, const char *args)
{
    uint64_t addr, len;
    const char *end = s->parser.data + s->parser.len;
    if (!parse_range(&args, &addr, &len) || *args != ':' || (uint64_t)(end - args - 1) != len) {
        say(s, E_INVALID);
        return;
    }
    say(s, memory_access(s, addr, (uint8_t *)(uintptr_t)(args + 1), len, true) ? "OK" : E_FAULT);
}

/* The checksum of "compare-sections": GDB manual, qCRC: polynomial 0x04c11db7, most significant bit
 * first, starting from all ones. */
static uint32_t crc32_gdb(uint32_t crc, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint32_t)data[i] << 24;
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7u : 0);
        }
    }
    return crc;
}

/* What one qCRC may ask for: more would keep the machine's other clients waiting. */
#define CRC_BYTES_MAX (64u << 20)

static void cmd_crc(GdbSession *s, const char *args)
{
    uint64_t addr, len;
    uint32_t crc = UINT32_MAX;
    uint8_t buf[4096];
    if (!parse_range(&args, &addr, &len) || len > CRC_BYTES_MAX) {
        say(s, E_INVALID);
        return;
    }
    while (len) {
        size_t part = MIN_OF(len, (uint64_t)sizeof(buf));
        if (read_memory(s, addr, buf, part) != part) {
            say(s, E_FAULT);
            return;
        }
        crc = crc32_gdb(crc, buf, part);
        addr += part;
        len -= part;
    }
    g_string_append_printf(s->reply, "C%08x", crc);
}

/* --- Breakpoints --- */

/* "type,addr,kind" of Z and z packets. */
static bool parse_breakpoint(const char *args, CpuBreakpointKind *kind, uint64_t *addr,
                             uint64_t *len)
{
    static const CpuBreakpointKind kinds[] = { CPU_BREAK_SOFTWARE, CPU_BREAK_HARDWARE,
                                               CPU_WATCH_WRITE, CPU_WATCH_READ, CPU_WATCH_ACCESS };
    uint64_t type;
    if (!gdb_hex_number(&args, &type) || type >= ARRAY_LEN(kinds) || *args != ',') {
        return false;
    }
    args++;
    *kind = kinds[type];
    return parse_range(&args, addr, len);
}

static void change_breakpoint(GdbSession *s, const char *args, bool insert)
{
    CpuBreakpointKind kind;
    uint64_t addr, len;
    Cpu *cpu;
    bool ok = cpu_count() > 0;
    if (*args >= '5' && *args <= '9') {
        return; /* a kind of its own: not known */
    }
    if (!parse_breakpoint(args, &kind, &addr, &len)) {
        say(s, E_INVALID);
        return;
    }
    CPU_FOREACH(cpu)
    {
        Error *err = NULL;
        /* gdb inserts again what it isn't sure of */
        bool had = cpu_breakpoint_remove(cpu, kind, addr, len);
        if (insert && !cpu_breakpoint_insert(cpu, kind, addr, len, &err)) {
            error_free(err);
            ok = false;
        }
        ok &= insert || had;
    }
    if (insert && !ok) {
        CPU_FOREACH(cpu)
        {
            cpu_breakpoint_remove(cpu, kind, addr, len);
        }
    }
    say(s, ok ? "OK" : E_INVALID);
}

static void cmd_insert(GdbSession *s, const char *args)
{
    change_breakpoint(s, args, true);
}

static void cmd_remove(GdbSession *s, const char *args)
{
    change_breakpoint(s, args, false);
}

/* --- Threads --- */

static void cmd_set_thread(GdbSession *s, const char *args)
{
    char what = *args;
    int thread;
    if ((what != 'g' && what != 'c') || (args++, !parse_thread(&args, &thread))) {
        say(s, E_INVALID);
        return;
    }
    if (what == 'c') {
        s->c_thread = thread;
    } else if (thread > 0) {
        s->g_thread = thread;
    }
    say(s, "OK");
}

static void cmd_thread_alive(GdbSession *s, const char *args)
{
    int thread;
    say(s, parse_thread(&args, &thread) && cpu_of(thread) ? "OK" : E_INVALID);
}

static void cmd_current_thread(GdbSession *s, const char *args)
{
    g_string_append_printf(s->reply, "QC%02x", (unsigned)s->g_thread);
}

static void cmd_next_threads(GdbSession *s, const char *args)
{
    if (s->list_pos >= cpu_count()) {
        say(s, "l");
        return;
    }
    for (unsigned n = 0; s->list_pos < cpu_count() && s->reply->len < GDB_PACKET_MAX - 16; n++) {
        g_string_append_printf(s->reply, "%c%02x", n ? ',' : 'm', ++s->list_pos);
    }
}

static void cmd_first_threads(GdbSession *s, const char *args)
{
    s->list_pos = 0;
    cmd_next_threads(s, args);
}

static void cmd_thread_info(GdbSession *s, const char *args)
{
    int thread;
    Cpu *cpu = parse_thread(&args, &thread) ? cpu_of(thread) : NULL;
    if (!cpu) {
        say(s, E_INVALID);
        return;
    }
    bool halted = __atomic_load_n(&cpu->halted, __ATOMIC_SEQ_CST);
    g_autofree char *text =
        g_strdup_printf("CPU#%d [%s]", cpu->index, halted ? "halted " : "running");
    gdb_hex_append(s->reply, text, strlen(text));
}

/* --- Queries --- */

static void cmd_supported(GdbSession *s, const char *args)
{
    s->tells_swbreak = strstr(args, "swbreak+") != NULL;
    s->tells_hwbreak = strstr(args, "hwbreak+") != NULL;
    g_string_append_printf(s->reply,
                           "PacketSize=%x;qXfer:features:read+;vContSupported+;"
                           "QStartNoAckMode+;swbreak+;hwbreak+",
                           GDB_PACKET_MAX);
}

static void cmd_features(GdbSession *s, const char *args)
{
    uint64_t offset, len;
    size_t total;
    if (!g_str_has_prefix(args, "target.xml:")) {
        say(s, "E00"); /* no such annex */
        return;
    }
    args += strlen("target.xml:");
    if (!registers(s) || !parse_range(&args, &offset, &len)) {
        say(s, E_INVALID);
        return;
    }
    const char *xml = gdb_registers_xml(s->registers, &total);
    if (offset > total) {
        say(s, "E00");
        return;
    }
    /* characters that are escaped take two */
    uint64_t part = MIN_OF(MIN_OF(len, total - offset), (uint64_t)GDB_PACKET_MAX / 2);
    say(s, offset + part < total ? "m" : "l");
    g_string_append_len(s->reply, xml + offset, (gssize)part);
}

static void cmd_attached(GdbSession *s, const char *args)
{
    say(s, "1"); /* gdb's quit detaches */
}

static void cmd_offsets(GdbSession *s, const char *args)
{
    say(s, "Text=0;Data=0;Bss=0");
}

static void cmd_ok(GdbSession *s, const char *args)
{
    say(s, "OK");
}

static void cmd_no_ack(GdbSession *s, const char *args)
{
    say(s, "OK");
    s->no_ack = true;
}

/* Text for gdb's terminal goes in packets of its own before the answer. */
#define CONSOLE_BYTES (GDB_PACKET_MAX / 2 - 8)

static void cmd_monitor(GdbSession *s, const char *args)
{
    char line[1024];
    size_t len = gdb_hex_decode(args, (uint8_t *)line, sizeof(line) - 1);
    g_autoptr(GString) out = g_string_new(NULL);
    line[len] = 0;
    hmp_run_line(NULL, MAX(s->g_thread, 1) - 1, line, out);
    for (size_t done = 0; done < out->len; done += CONSOLE_BYTES) {
        g_autoptr(GString) packet = g_string_new("O");
        gdb_hex_append(packet, out->str + done, MIN_OF(out->len - done, (size_t)CONSOLE_BYTES));
        send_packet(s, packet->str, packet->len);
    }
    say(s, "OK");
}

static void cmd_step_bits(GdbSession *s, const char *args)
{
    g_string_append_printf(s->reply, "ENABLE=%x,NOIRQ=%x,NOTIMER=%x", STEP_ENABLE, STEP_NO_IRQ,
                           STEP_NO_TIMER);
}

static void cmd_step_get(GdbSession *s, const char *args)
{
    g_string_append_printf(s->reply, "0x%x", s->step_flags);
}

static void cmd_step_set(GdbSession *s, const char *args)
{
    uint64_t flags;
    if (!gdb_hex_number(&args, &flags) || (flags & ~(uint64_t)STEP_ALL) || *args) {
        say(s, E_INVALID);
        return;
    }
    s->step_flags = (unsigned)flags;
    say(s, "OK");
}

static void cmd_extensions(GdbSession *s, const char *args)
{
    say(s, "sstepbits;sstep;PhyMemMode");
}

static void cmd_physical_get(GdbSession *s, const char *args)
{
    say(s, s->physical ? "1" : "0");
}

static void cmd_physical_set(GdbSession *s, const char *args)
{
    if ((*args != '0' && *args != '1') || args[1]) {
        say(s, E_INVALID);
        return;
    }
    s->physical = *args == '1';
    say(s, "OK");
}

/* --- The table --- */

typedef struct Command {
    const char *begin; /* of the packet; '$' at its end: all of it */
    void (*run)(GdbSession *s, const char *args);
} Command;

/* Looked up in order: longer beginnings first. */
static const Command commands[] = {
    { "?$", cmd_stop_reason },
    { "vCont?$", cmd_vcont_query },
    { "vCont", cmd_vcont },
    { "vKill;", cmd_vkill },
    { "c", cmd_continue },
    { "C", cmd_continue_signal },
    { "s", cmd_step },
    { "S", cmd_step_signal },
    { "D", cmd_detach },
    { "k$", cmd_kill },
    { "g$", cmd_read_registers },
    { "G", cmd_write_registers },
    { "p", cmd_read_register },
    { "P", cmd_write_register },
    { "m", cmd_read_memory },
    { "x", cmd_read_memory_binary },
    { "M", cmd_write_memory },
    { "X", cmd_write_memory_binary },
    { "Z", cmd_insert },
    { "z", cmd_remove },
    { "H", cmd_set_thread },
    { "T", cmd_thread_alive },
    { "qC$", cmd_current_thread },
    { "qfThreadInfo$", cmd_first_threads },
    { "qsThreadInfo$", cmd_next_threads },
    { "qThreadExtraInfo,", cmd_thread_info },
    { "qSupported", cmd_supported },
    { "qXfer:features:read:", cmd_features },
    { "qAttached", cmd_attached },
    { "qOffsets$", cmd_offsets },
    { "qSymbol:", cmd_ok },
    { "qRcmd,", cmd_monitor },
    { "qCRC:", cmd_crc },
    { "QStartNoAckMode$", cmd_no_ack },
    { "qqemu.sstepbits$", cmd_step_bits },
    { "qqemu.sstep$", cmd_step_get },
    { "Qqemu.sstep=", cmd_step_set },
    { "qqemu.sstep=", cmd_step_set },
    { "qqemu.Supported$", cmd_extensions },
    { "qqemu.PhyMemMode$", cmd_physical_get },
    { "Qqemu.PhyMemMode:", cmd_physical_set },
};

static const char *arguments(const Command *c, const char *packet)
{
    size_t len = strlen(c->begin);
    if (c->begin[len - 1] == '$') {
        return strlen(packet) == len - 1 && !strncmp(packet, c->begin, len - 1) ? "" : NULL;
    }
    return strncmp(packet, c->begin, len) ? NULL : packet + len;
}

static void on_packet(GdbSession *s)
{
    const char *packet = s->parser.data;
    const Command *c = NULL;
    const char *args = NULL;

    if (!s->no_ack) {
        s->send(s->opaque, "+", 1);
    }
    if (s->waiting) {
        return; /* a client that doesn't wait for the stop has lost its way */
    }
    g_string_truncate(s->reply, 0);
    s->silent = false;
    for (unsigned i = 0; i < ARRAY_LEN(commands) && !args; i++) {
        c = &commands[i];
        args = arguments(c, packet);
    }
    if (args) {
        c->run(s, args);
    }
    if (!s->silent) {
        send_packet(s, s->reply->str, s->reply->len);
    }
}

void gdb_session_bytes(GdbSession *s, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len && s->connected; i++) {
        switch (gdb_parser_byte(&s->parser, bytes[i])) {
        case GDB_EVENT_PACKET:
            on_packet(s);
            break;
        case GDB_EVENT_BAD_PACKET:
            if (!s->no_ack) {
                s->send(s->opaque, "-", 1);
            }
            break;
        case GDB_EVENT_NACK:
            if (!s->no_ack) {
                s->send(s->opaque, s->sent->str, s->sent->len);
            }
            break;
        case GDB_EVENT_INTERRUPT:
            interrupt(s);
            break;
        default:
            break;
        }
    }
}

/* --- Coming and going --- */

GdbSession *gdb_session_new(GdbSendFn *send, void *opaque)
{
    GdbSession *s = g_new0(GdbSession, 1);
    s->send = send;
    s->opaque = opaque;
    s->reply = g_string_new(NULL);
    s->sent = g_string_new(NULL);
    return s;
}

void gdb_session_connected(GdbSession *s)
{
    Cpu *cpu;
    s->connected = true;
    s->no_ack = s->waiting = s->physical = false;
    s->tells_swbreak = s->tells_hwbreak = false;
    s->step_flags = STEP_ALL;
    s->stop_thread = s->g_thread = s->c_thread = 1;
    s->parser.state = GDB_IDLE;
    g_string_truncate(s->sent, 0);
    gdb_registers_free(s->registers);
    s->registers = NULL;
    if (vm_is_running()) {
        vm_stop(RUN_STATE_PAUSED);
    }
    CPU_FOREACH(cpu)
    {
        cpu_synchronize_state(cpu);
    }
}

void gdb_session_disconnected(GdbSession *s)
{
    if (!s->connected) {
        return;
    }
    s->connected = s->waiting = false;
    bool ran = vm_is_running();
    RunState state = run_state_get();
    if (ran) {
        vm_stop(RUN_STATE_PAUSED);
    }
    forget_breakpoints();
    forget_steps();
    if (ran && state == RUN_STATE_RUNNING) {
        vm_start();
    }
}

void gdb_session_free(GdbSession *s)
{
    if (s) {
        gdb_session_disconnected(s);
        gdb_registers_free(s->registers);
        g_string_free(s->reply, TRUE);
        g_string_free(s->sent, TRUE);
        g_free(s);
    }
}
