/*
 * Start-up is a table: each row is a short function, in the order in which things come to be.
 *
 * A row that has to wait (for a back end, for the user's x-exit-preconfig) returns PHASE_WAIT; the
 * main loop runs, monitors answer, and the row is called again when something changed. So no row
 * blocks, and every row that waits can be called again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "accel/accel.h"
#include "accel/icount.h"
#include "accel/qtest/qtest.h"
#include "base/fdset.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "chardev/chardev-record.h"
#include "devices/timer/rtc-base.h"
#include "event/lock.h"
#include "gdbstub/gdbstub.h"
#include "main/board-options.h"
#include "main/control.h"
#include "main/host-backends.h"
#include "main/privileges.h"
#include "main/sandbox.h"
#include "main/startup.h"
#include "memory/memory.h"
#include "migration/dump.h"
#include "monitor/monitor.h"
#include "object/phase.h"
#include "object/runstate.h"
#include "object/user-creatable.h"
#include "schema/chardev.h"
#include "schema/config.h"
#include "schema/hardware.h"
#include "schema/jit.h"
#include "schema/run.h"
#include "schema/trace.h"
#include "trace/options.h"
#include "trace/startup-graph.h"
#include "vhost/user/await.h"

/* Say again what is awaited, this often. */
#define FIRST_REMINDER    (1 * NS_PER_SECOND) /* what is there at once isn't awaited */
#define REMINDER_INTERVAL (5 * NS_PER_SECOND)

static PhaseResult phase_result(bool ok)
{
    return ok ? PHASE_DONE : PHASE_FAILED;
}

/* --- Before the command line --- */

static PhaseResult register_types(StartUp *s, Error **errp)
{
    module_call(MODULE_TYPES);
    return PHASE_DONE;
}

static PhaseResult register_options(StartUp *s, Error **errp)
{
    module_call(MODULE_OPTIONS);
    module_call(MODULE_ARCH);
    module_call(MODULE_SUBSYSTEM);
    phase_advance(PHASE_TYPES);
    return PHASE_DONE;
}

/* --- Reading it --- */

static PhaseResult parse_first_pass(StartUp *s, Error **errp)
{
    s->config = config_new();
    if (!config_parse_first(s->config, s->argc, s->argv, errp)) {
        return PHASE_FAILED;
    }
    if (config_get(s->config, help)) {
        config_print_options(stdout);
        return PHASE_END;
    }
    if (config_get(s->config, version)) {
        printf("Rhea emulator version %s\n", RHEA_VERSION);
        return PHASE_END;
    }
    return PHASE_DONE;
}

static PhaseResult parse_second_pass(StartUp *s, Error **errp)
{
    if (!config_get(s->config, no_user_config) && !config_read_default_file(s->config, errp)) {
        return PHASE_FAILED;
    }
    return phase_result(config_parse_second(s->config, s->argc, s->argv, errp));
}

static void apply_message_options(const Config *config)
{
    const MsgOptions *msg = config_get(config, msg);
    const NameOptions *name = config_get(config, name);
    thread_names_set_enabled(!name || name->debug_threads);
    report_set_timestamp(msg && msg->timestamp);
    if (msg && msg->guest_name && name) {
        report_set_guest_name(name->guest);
    }
}

static PhaseResult validate(StartUp *s, Error **errp)
{
    if (!config_validate(s->config, errp)) {
        return PHASE_FAILED;
    }
    bool ok;
    if (config_print_help(s->config, stdout, &ok)) {
        s->status = ok ? EXIT_SUCCESS : EXIT_FAILURE;
        return PHASE_END;
    }
    apply_message_options(s->config);
    const option_type_writeconfig *file = config_get(s->config, writeconfig);
    if (file && !config_write_file(s->config, *file, errp)) {
        return PHASE_FAILED;
    }
    phase_advance(PHASE_CONFIGURED);
    return PHASE_DONE;
}

/* --- The process --- */

static PhaseResult go_to_background(StartUp *s, Error **errp)
{
    if (!config_get(s->config, daemonize)) {
        return PHASE_DONE;
    }
    switch (daemonize_fork(&s->daemonize, errp)) {
    case DAEMONIZE_CHILD:
        chardev_forbid_stdio("-daemonize");
        return PHASE_DONE;
    case DAEMONIZE_STARTED:
        return PHASE_END;
    case DAEMONIZE_NOT_STARTED:
        s->status = 1;
        return PHASE_END;
    default:
        return PHASE_FAILED;
    }
}

static PhaseResult write_pidfile(StartUp *s, Error **errp)
{
    const option_type_pidfile *path = config_get(s->config, pidfile);
    if (path) {
        s->pidfile = pidfile_create(*path, errp);
    }
    return phase_result(!path || s->pidfile);
}

static PhaseResult configure_debugging(StartUp *s, Error **errp)
{
    const option_type_D *file = config_get(s->config, D);
    const option_type_d *items = config_get(s->config, d);
    unsigned mask = 0;
    if (file && !log_set_file(*file, errp)) {
        return PHASE_FAILED;
    }
    if (items && !log_parse_items(*items, &mask, errp)) {
        error_prepend(errp, "-d %s: ", *items);
        return PHASE_FAILED;
    }
    const option_type_dfilter *filter = config_get(s->config, dfilter);
    if (filter && !log_set_filter(*filter, errp)) {
        error_prepend(errp, "-dfilter: ");
        return PHASE_FAILED;
    }
    log_set_mask(mask);
    for (size_t i = 0; i < config_count(s->config, trace); i++) {
        if (!trace_configure(config_at(s->config, trace, i), errp)) {
            return PHASE_FAILED;
        }
    }
    return PHASE_DONE;
}

static PhaseResult take_descriptors(StartUp *s, Error **errp)
{
    for (size_t i = 0; i < config_count(s->config, add_fd); i++) {
        const AddFdOptions *o = config_at(s->config, add_fd, i);
        int fd = o->fd;
        if (!fd_set_cloexec(fd, true, errp) || fdset_add(o->set, fd, o->opaque, errp) < 0) {
            config_item_prepend(config_item(s->config, add_fd, i), errp);
            return PHASE_FAILED;
        }
    }
    return PHASE_DONE;
}

static bool lock_memory(const Config *config, Error **errp)
{
    const OvercommitOptions *o = config_get(config, overcommit);
    if (o && o->mem_lock && mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        error_set_errno(errp, errno, "-overcommit mem-lock=on: cannot lock memory");
        return false;
    }
    return true;
}

static PhaseResult make_loop(StartUp *s, Error **errp)
{
    if (!event_loop_main_init(errp)) {
        return PHASE_FAILED;
    }
    s->loop_made = true;
    machine_lock();
    memory_init();
    control_init();
    if (!control_catch_signals(errp) || !lock_memory(s->config, errp)) {
        return PHASE_FAILED;
    }
    module_call(MODULE_TRACE);
    module_call(MODULE_MIGRATION);
    phase_advance(PHASE_LOOP);
    return PHASE_DONE;
}

static void set_compat_policy(const CompatOptions *o)
{
    QmpPolicy policy = {};
    const struct {
        CompatPolicyInput input;
        CompatPolicyOutput output;
        unsigned flag;
    } rows[] = {
        { o->deprecated_input, o->deprecated_output, FIELD_DEPRECATED },
        { o->unstable_input, o->unstable_output, FIELD_UNSTABLE },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        policy.reject |= rows[i].input == COMPAT_POLICY_INPUT_REJECT ? rows[i].flag : 0;
        policy.crash |= rows[i].input == COMPAT_POLICY_INPUT_CRASH ? rows[i].flag : 0;
        policy.hide |= rows[i].output == COMPAT_POLICY_OUTPUT_HIDE ? rows[i].flag : 0;
    }
    qmp_policy_set(&policy);
}

static bool set_icount(const IcountOptions *o, Error **errp)
{
    IcountConfig config = { 0 };
    uint64_t shift = 0;
    if (!o) {
        return true;
    }
    config = (IcountConfig){ .automatic = !strcmp(o->shift, "auto"),
                             .align = o->align,
                             .sleep = o->sleep };
    if (o->rr != ICOUNT_RR_NONE || o->rrfile || o->rrsnapshot) {
        error_set(errp, "-icount: record and replay aren't implemented; leave rr= away");
        return false;
    }
    if (!config.automatic && (!text_to_u64(o->shift, &shift) || shift > ICOUNT_SHIFT_MAX)) {
        error_set(errp, "-icount: shift '%s' is neither a number from 0 to %d nor auto", o->shift,
                  ICOUNT_SHIFT_MAX);
        return false;
    }
    config.shift = (unsigned)shift;
    return icount_enable(&config, errp);
}

static PhaseResult set_policies(StartUp *s, Error **errp)
{
    const CompatOptions *compat = config_get(s->config, compat);
    if (compat) {
        set_compat_policy(compat);
    }
    const ActionOptions *actions = config_get(s->config, action);
    const RtcOptions *rtc = config_get(s->config, rtc);
    if (actions) {
        control_set_actions(actions);
    }
    control_set_autostart(!config_get(s->config, S));
    if (!set_icount(config_get(s->config, icount), errp)) {
        return PHASE_FAILED;
    }
    s->preconfig = config_get(s->config, preconfig);
    for (size_t i = 0; i < config_count(s->config, global); i++) {
        const GlobalOptions *g = config_at(s->config, global, i);
        global_property_add(&(GlobalProperty){ .driver = g->driver,
                                               .property = g->property,
                                               .value = g->value,
                                               .user_provided = true });
    }
    if (!rtc) {
        return PHASE_DONE;
    }
    return phase_result(
        rtc_configure(&(RtcConfig){ .base = rtc->base,
                                    .clock = enum_name(&enum_rtc_clock, rtc->clock),
                                    .driftfix = enum_name(&enum_rtc_driftfix, rtc->driftfix) },
                      errp));
}

/* --- The machine object, chardevs, accelerator --- */

static bool set_machine_memory(Machine *m, const Config *config, Error **errp)
{
    const MemoryOptions *o = config_get(config, m);
    MachineMemoryConfig memory = { 0 };
    if (o) {
        memory = (MachineMemoryConfig){
            .has_size = o->has_size,
            .size = o->size,
            .has_slots = o->has_slots,
            .slots = o->slots,
            .has_max_size = o->has_maxmem,
            .max_size = o->maxmem,
        };
    }
    return machine_set_memory(m, &memory, errp);
}

static bool set_machine_smp(Machine *m, const Config *config, Error **errp)
{
    const SmpOptions *o = config_get(config, smp);
    if (!o) {
        return machine_set_smp(m, &(MachineSmpConfig){ 0 }, errp);
    }
    const MachineSmpConfig smp = {
        .has_cpus = o->has_cpus,
        .cpus = o->cpus,
        .has_sockets = o->has_sockets,
        .sockets = o->sockets,
        .has_dies = o->has_dies,
        .dies = o->dies,
        .has_cores = o->has_cores,
        .cores = o->cores,
        .has_threads = o->has_threads,
        .threads = o->threads,
        .has_maxcpus = o->has_maxcpus,
        .maxcpus = o->maxcpus,
    };
    return machine_set_smp(m, &smp, errp);
}

static PhaseResult create_machine(StartUp *s, Error **errp)
{
    const MachineOptions *o = config_get(s->config, machine);
    const option_type_uuid *uuid = config_get(s->config, uuid);
    const NameOptions *name = config_get(s->config, name);
    MachineClass *mc = o && o->type ? machine_class_find(o->type, errp) : machine_class_default();
    if (!mc) {
        if (!o || !o->type) {
            error_set(errp, "No machine specified, and there is no default; use -machine help to "
                            "list supported machines");
        }
        return PHASE_FAILED;
    }
    s->machine = machine_create(mc, errp);
    if (!s->machine) {
        return PHASE_FAILED;
    }
    s->machine->uuid = uuid ? g_strdup(*uuid) : NULL;
    s->machine->guest_name = name ? g_strdup(name->guest) : NULL;
    return phase_result(set_machine_memory(s->machine, s->config, errp) &&
                        set_machine_smp(s->machine, s->config, errp));
}

static bool add_object(const ConfigItem *item, bool late, Error **errp)
{
    const ObjectOptions *o = item->value;
    ObjectClass *klass = class_by_name(o->qom_type);
    UserCreatableClass *uc = (UserCreatableClass *)class_dynamic_cast(klass, TYPE_USER_CREATABLE);
    /* A type that doesn't exist is an error of the first round. */
    if ((uc && uc->late) != late) {
        return true;
    }
    startup_graph_enter(STARTUP_MODULE, o->id);
    bool ok = user_creatable_add(o->qom_type, o->id, o->rest, item->mode, errp);
    startup_graph_leave(STARTUP_MODULE, o->id);
    if (!ok) {
        config_item_prepend(item, errp);
    }
    return ok;
}

static PhaseResult add_objects(StartUp *s, bool late, Error **errp)
{
    for (size_t i = 0; i < config_count(s->config, object); i++) {
        if (!add_object(config_item(s->config, object, i), late, errp)) {
            return PHASE_FAILED;
        }
    }
    return PHASE_DONE;
}

static PhaseResult add_early_objects(StartUp *s, Error **errp)
{
    return add_objects(s, false, errp);
}

static PhaseResult add_chardevs(StartUp *s, Error **errp)
{
    const option_type_echr *escape = config_get(s->config, echr);
    if (escape) {
        chardev_mux_set_escape(*escape);
    }
    chardev_mux_suspend_opens();
    for (size_t i = 0; i < config_count(s->config, chardev); i++) {
        const ChardevOptions *o = config_at(s->config, chardev, i);
        startup_graph_enter(STARTUP_MODULE, o->id);
        bool ok = chardev_new_from_options(o, errp);
        startup_graph_leave(STARTUP_MODULE, o->id);
        if (!ok) {
            config_item_prepend(config_item(s->config, chardev, i), errp);
            return PHASE_FAILED;
        }
    }
    chardev_set_state_fn(startup_poke, s);
    return PHASE_DONE;
}

/* Before anything that may wait, so that whoever waits with the machine can ask why. */
static PhaseResult add_monitors(StartUp *s, Error **errp)
{
    monitor_init();
    return phase_result(monitor_add_from_config(s->config, errp));
}

static char *awaited_chardev(void)
{
    Chardev *chr = chardev_waiting();
    return chr ? chardev_describe_wait(chr) : NULL;
}

static char *awaited_back_end(void)
{
    return vhost_user_awaited(NULL);
}

static void remind(void *opaque)
{
    StartUp *s = opaque;
    g_autofree char *what = s->awaited();
    if (what) {
        int64_t waited = (clock_now(CLK_REALTIME) - s->wait_began) / NS_PER_SECOND;
        report_info("waiting for %s (for %d s)", what, (int)waited);
        timer_set(s->reminder, clock_now(CLK_REALTIME) + REMINDER_INTERVAL);
    }
}

static void start_reminding(StartUp *s, char *(*awaited)(void))
{
    if (!s->reminder) {
        s->awaited = awaited;
        startup_graph_enter(STARTUP_WAIT, "chardevs");
        s->wait_began = clock_now(CLK_REALTIME);
        s->reminder = timer_new(event_loop_main(), CLK_REALTIME, remind, s);
        timer_set(s->reminder, s->wait_began + FIRST_REMINDER);
    }
}

static PhaseResult wait_for_chardevs(StartUp *s, Error **errp)
{
    if (!chardev_check_started(errp)) {
        return PHASE_FAILED;
    }
    if (chardev_waiting()) {
        start_reminding(s, awaited_chardev);
        return PHASE_WAIT;
    }
    timer_free(s->reminder);
    s->reminder = NULL;
    return PHASE_DONE;
}

static PhaseResult set_machine_properties(StartUp *s, Error **errp)
{
    const MachineOptions *o = config_get(s->config, machine);
    const ConfigItem *item = o ? config_item(s->config, machine, 0) : NULL;
    if (o && o->rest && !object_set_all(&s->machine->parent, o->rest, item->mode, errp)) {
        config_item_prepend(item, errp);
        return PHASE_FAILED;
    }
    phase_advance(PHASE_MACHINE_CREATED);
    return PHASE_DONE;
}

static PhaseResult describe_board(StartUp *s, Error **errp)
{
    return phase_result(board_options_apply(s->machine, s->config, errp) &&
                        board_options_add_ports(s->machine, s->config, errp) &&
                        board_options_start_qtest(s->config, errp));
}

/* What is tried when neither -accel nor -machine accel= says. */
static const char *const default_accels[] = { "jit" };

static bool try_accel(StartUp *s, const char *name, json_t *properties, bool last, Error **errp)
{
    const char *type = accel_type_for_name(name);
    if (!type) {
        error_set(errp, "invalid accelerator %s", name);
        return false;
    }
    json_t *all = properties ? json_copy(properties) : json_object();
    if (config_get(s->config, perfmap) && (!g_strcmp0(type, accel_type_for_name("jit")) ||
                                           !g_strcmp0(type, accel_type_for_name("tcg")))) {
        json_object_set_new(all, "perf-map", json_string("on"));
    }
    bool ok = (last ? accel_start : accel_start_or_next)(type, all, &s->machine->parent, errp);
    json_decref(all);
    if (!ok) {
        error_prepend(errp, "failed to initialize %s: ", name);
    }
    return ok;
}

typedef struct AccelWish {
    const char *name;
    json_t *properties; /* borrowed; NULL: none */
} AccelWish;

/* What to try, in order; "-accel a:b" is "-accel a -accel b". The words are kept in `words`. */
static bool list_accels(StartUp *s, GArray *wishes, GPtrArray *words, Error **errp)
{
    size_t given = config_count(s->config, accel);

    for (size_t i = 0; i < ARRAY_LEN(default_accels) && !given; i++) {
        AccelWish wish = { default_accels[i], NULL };
        g_array_append_val(wishes, wish);
    }
    for (size_t i = 0; i < given; i++) {
        const AccelOptions *o = config_at(s->config, accel, i);
        if (strchr(o->accel, ':') && o->rest && json_object_size(o->rest)) {
            error_set(errp,
                      "-accel %s: properties need the one they are for; give each "
                      "accelerator its own -accel",
                      o->accel);
            return false;
        }
        char **names = g_strsplit(o->accel, ":", -1);
        for (char **name = names; *name; name++) {
            g_ptr_array_add(words, *name);
            AccelWish wish = { *name, o->rest };
            g_array_append_val(wishes, wish);
        }
        g_free(names); /* the words live on */
    }
    return true;
}

/* Whoever asked for controllers in the kernel should know that there are none. */
static void check_irqchip(StartUp *s)
{
    int wish = s->machine->kernel_irqchip;
    if ((wish == ACCEL_IRQCHIP_WISH_ON || wish == ACCEL_IRQCHIP_WISH_SPLIT) &&
        accel_irqchip() == ACCEL_IRQCHIP_OFF) {
        report_warning("-machine kernel-irqchip=...: this accelerator has no interrupt controllers "
                       "in the kernel; they are emulated");
    }
}

/* In the order given; each that can't be had is one line, and the next is tried. */
static PhaseResult start_accel(StartUp *s, Error **errp)
{
    g_autoptr(GArray) wishes = g_array_new(false, false, sizeof(AccelWish));
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);

    if (!list_accels(s, wishes, words, errp)) {
        return PHASE_FAILED;
    }
    for (unsigned i = 0; i < wishes->len; i++) {
        const AccelWish *wish = &g_array_index(wishes, AccelWish, i);
        Error *err = NULL;
        bool last = i + 1 == wishes->len;
        if (try_accel(s, wish->name, wish->properties, last, &err)) {
            check_irqchip(s);
            phase_advance(PHASE_ACCEL_CREATED);
            if (icount_enabled() && !accel_is("jit") && !accel_is("tcg")) {
                error_set(errp, "-icount: this accelerator can't count instructions; use "
                                "-accel jit");
                return PHASE_FAILED;
            }
            return phase_result(machine_apply_compat(s->machine, errp));
        }
        if (last) {
            error_propagate(errp, err);
        } else {
            error_report_and_free(err);
        }
    }
    return PHASE_FAILED;
}

/* --- Late back ends, CPUs, memory --- */

static PhaseResult add_late_objects(StartUp *s, Error **errp)
{
    if (add_objects(s, true, errp) != PHASE_DONE) {
        return PHASE_FAILED;
    }
    phase_advance(PHASE_BACKENDS_CREATED);
    return PHASE_DONE;
}

static bool add_numa(Machine *m, const NumaOptions *o, Error **errp)
{
    switch (o->type) {
    case NUMA_OPTIONS_TYPE_NODE: {
        const NumaNodeOptions *n = &o->u.node;
        g_autofree uint64_t *cpus = g_new(uint64_t, 2 * n->cpus.len);
        for (size_t i = 0; i < n->cpus.len; i++) {
            cpus[2 * i] = cpus[2 * i + 1] = n->cpus.items[i];
        }
        const MachineNumaNodeConfig node = {
            .has_nodeid = n->has_nodeid,
            .nodeid = n->nodeid,
            .has_mem = n->has_mem,
            .mem = n->mem,
            .memdev = n->memdev,
            .cpus = cpus,
            .n_cpus = 2 * n->cpus.len,
            .has_initiator = n->has_initiator,
            .initiator = n->initiator,
        };
        return machine_numa_add_node(m, &node, errp);
    }
    case NUMA_OPTIONS_TYPE_DIST:
        return machine_numa_add_distance(m, o->u.dist.src, o->u.dist.dst, o->u.dist.val, errp);
    default: {
        const NumaCpuOptions *c = &o->u.cpu;
        const MachineNumaCpuConfig cpu = {
            .node_id = c->node_id,
            .has_socket_id = c->has_socket_id,
            .socket_id = c->socket_id,
            .has_die_id = c->has_die_id,
            .die_id = c->die_id,
            .has_core_id = c->has_core_id,
            .core_id = c->core_id,
            .has_thread_id = c->has_thread_id,
            .thread_id = c->thread_id,
        };
        return machine_numa_add_cpu(m, &cpu, errp);
    }
    }
}

/* Nodes first, in whatever order they were given with what refers to them. */
static PhaseResult describe_numa(StartUp *s, Error **errp)
{
    for (int nodes = 1; nodes >= 0; nodes--) {
        for (size_t i = 0; i < config_count(s->config, numa); i++) {
            const NumaOptions *o = config_at(s->config, numa, i);
            if ((o->type == NUMA_OPTIONS_TYPE_NODE) != nodes) {
                continue;
            }
            if (!add_numa(s->machine, o, errp)) {
                config_item_prepend(config_item(s->config, numa, i), errp);
                return PHASE_FAILED;
            }
        }
    }
    return PHASE_DONE;
}

static PhaseResult add_disks(StartUp *s, Error **errp)
{
    return phase_result(host_backends_add_disks(s->config, errp));
}

static PhaseResult add_netdevs(StartUp *s, Error **errp)
{
    vhost_user_set_await_fn(startup_poke, s);
    return phase_result(host_backends_add_netdevs(s->config, errp));
}

static PhaseResult wait_for_back_ends(StartUp *s, Error **errp)
{
    Error *err = NULL;
    g_autofree char *what = vhost_user_awaited(&err);
    if (err) {
        error_propagate(errp, err);
        return PHASE_FAILED;
    }
    if (what) {
        start_reminding(s, awaited_back_end);
        return PHASE_WAIT;
    }
    timer_free(s->reminder);
    s->reminder = NULL;
    return PHASE_DONE;
}

static PhaseResult add_nics(StartUp *s, Error **errp)
{
    return phase_result(board_options_add_nics(s->machine, s->config, errp));
}

static PhaseResult complete_machine(StartUp *s, Error **errp)
{
    return phase_result(machine_complete(s->machine, errp));
}

static void draw_startup(const Config *config)
{
    const option_type_startup_graph *graph = config_get(config, startup_graph);
    Error *err = NULL;
    if (graph && !startup_graph_write(*graph, NULL, &err)) {
        error_warn_and_free(err);
    }
}

static PhaseResult dump_vmstate(StartUp *s, Error **errp)
{
    const option_type_dump_vmstate *path = config_get(s->config, dump_vmstate);
    if (!path) {
        return PHASE_DONE;
    }
    if (!vmstate_dump_file(*path, machine_class_of(s->machine)->name, errp)) {
        return PHASE_FAILED;
    }
    draw_startup(s->config);
    return PHASE_END;
}

/* --- Board and devices --- */

/* Nothing may wait on a daemon's parent longer than it must: with -preconfig the monitor is what
 * was promised. */
static PhaseResult wait_for_preconfig_end(StartUp *s, Error **errp)
{
    if (!s->preconfig) {
        return PHASE_DONE;
    }
    if (!daemonize_ready(&s->daemonize, errp)) {
        return PHASE_FAILED;
    }
    return PHASE_WAIT;
}

static PhaseResult build_board(StartUp *s, Error **errp)
{
    if (!machine_init_board(s->machine, errp)) {
        return PHASE_FAILED;
    }
    phase_advance(PHASE_BOARD_INITIALIZED);
    return PHASE_DONE;
}

static PhaseResult add_devices(StartUp *s, Error **errp)
{
    if (!host_backends_plug_drives(errp)) {
        return PHASE_FAILED;
    }
    for (size_t i = 0; i < config_count(s->config, device); i++) {
        const ConfigItem *item = config_item(s->config, device, i);
        const DeviceOptions *o = item->value;
        startup_graph_enter(STARTUP_MODULE, o->id ?: o->driver);
        bool ok = device_add_by_user(item->json, item->mode, errp);
        startup_graph_leave(STARTUP_MODULE, o->id ?: o->driver);
        if (!ok) {
            config_item_prepend(item, errp);
            return PHASE_FAILED;
        }
    }
    return PHASE_DONE;
}

static PhaseResult finish_machine(StartUp *s, Error **errp)
{
    if (!machine_ready(s->machine, errp)) {
        return PHASE_FAILED;
    }
    global_properties_check_unused();
    host_backends_check_unused();
    phase_advance(PHASE_READY);
    qtest_server_machine_ready();
    return PHASE_DONE;
}

/* The machine is there: gdb may look at it. */
static PhaseResult start_gdbstub(StartUp *s, Error **errp)
{
    return phase_result(gdbstub_start_from_config(s->config, errp));
}

/* --- The end of start-up --- */

static void name_process(const Config *config)
{
    const NameOptions *name = config_get(config, name);
    if (name && name->process) {
        prctl(PR_SET_NAME, name->process);
    }
}

static unsigned sandbox_rules(const SandboxOptions *o)
{
    unsigned deny = 0;
    deny |= o->obsolete == SANDBOX_RULE_DENY ? SANDBOX_DENY_OBSOLETE : 0;
    deny |= o->spawn == SANDBOX_RULE_DENY ? SANDBOX_DENY_SPAWN : 0;
    deny |= o->resourcecontrol == SANDBOX_RULE_DENY ? SANDBOX_DENY_RESOURCES : 0;
    deny |= o->elevateprivileges == SANDBOX_PRIVILEGE_RULE_DENY ? SANDBOX_DENY_PRIVILEGES : 0;
    deny |= o->elevateprivileges == SANDBOX_PRIVILEGE_RULE_CHILDREN
                ? SANDBOX_DENY_CHILDREN_PRIVILEGES
                : 0;
    return deny;
}

static PhaseResult reduce_process(StartUp *s, Error **errp)
{
    const RunWithOptions *run = config_get(s->config, run_with);
    const SandboxOptions *sandbox = config_get(s->config, sandbox);
    name_process(s->config);
    if (run && (run->user || run->chroot) && !privileges_reduce(run->user, run->chroot, errp)) {
        return PHASE_FAILED;
    }
    if (run && run->async_teardown && !privileges_start_async_teardown(errp)) {
        return PHASE_FAILED;
    }
    if (sandbox && sandbox->enable && !sandbox_install(sandbox_rules(sandbox), errp)) {
        return PHASE_FAILED;
    }
    /* Whoever waits for a daemon is to hear of what failed above too. */
    return phase_result(daemonize_ready(&s->daemonize, errp));
}

static PhaseResult run_machine(StartUp *s, Error **errp)
{
    chardev_mux_resume_opens();
    draw_startup(s->config);
    if (control_autostart()) {
        vm_start();
    }
    return PHASE_DONE;
}

/* clang-format off */
const PhaseRow startup_phases[] = {
    { "register-types",         register_types },
    { "register-options",       register_options },
    { "parse-first-pass",       parse_first_pass },
    { "parse-second-pass",      parse_second_pass },
    { "validate",               validate },
    { "daemonize",              go_to_background },
    { "pidfile",                write_pidfile },
    { "debugging",              configure_debugging },
    { "descriptors",            take_descriptors },
    { "main-loop",              make_loop },
    { "policies",               set_policies },
    { "machine",                create_machine },
    { "early-objects",          add_early_objects },
    { "chardevs",               add_chardevs },
    { "monitors",               add_monitors },
    { "wait-for-chardevs",      wait_for_chardevs },
    { "machine-properties",     set_machine_properties },
    { "board-options",          describe_board },
    { "accelerator",            start_accel },
    { "disks",                  add_disks },
    { "netdevs",                add_netdevs },
    { "nics",                   add_nics },
    { "late-objects",           add_late_objects },
    { "wait-for-back-ends",     wait_for_back_ends },
    { "numa",                   describe_numa },
    { "complete-machine",       complete_machine },
    { "dump-vmstate",           dump_vmstate },
    { "preconfig",              wait_for_preconfig_end },
    { "board",                  build_board },
    { "devices",                add_devices },
    { "wait-for-devices",       wait_for_back_ends },
    { "machine-ready",          finish_machine },
    { "gdbstub",                start_gdbstub },
    { "reduce-process",         reduce_process },
    { "run",                    run_machine },
    { NULL, NULL },
};
/* clang-format on */
