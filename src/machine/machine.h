/*
 * Machines: what is built from the typed records of -machine, -m, -smp, -numa, -boot, and the
 * boards derived from it (pc, q35, none).
 *
 * The order in which start-up uses this header:
 *
 *   machine_class_find()         name or alias of -machine → class
 *   machine_create()             the object, at /machine, with its containers; properties can be
 * set machine_set_memory(), machine_set_smp(), machine_set_boot(), machine_numa_add_*()
 *   object_set…()                the -machine properties
 *   accel_start(), compat_properties_add(machine_class_of(m)->compat…) through
 *   machine_apply_compat()       from here devices get the version's defaults
 *   machine_complete()           what needs everything above: CPU type, NUMA checks, main memory
 *   machine_init_board()         CPUs, memory map, chipset, default devices
 *   -device …
 *   machine_ready()              firmware tables, kernel image, first reset
 *   machine_destroy()            mirror of machine_create()
 *
 * Machine lock held throughout. One machine a process at a time.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "bus/reset.h"
#include "memory/memory.h"
#include "object/object.h"
#include "object/property.h"

#define TYPE_MACHINE        "machine"
#define MACHINE_TYPE_SUFFIX "-machine"

typedef struct Machine Machine;
typedef struct MachineClass MachineClass;

/* -smp as given; checked and completed by machine_set_smp(). */
typedef struct MachineSmpConfig {
    bool has_cpus, has_sockets, has_dies, has_clusters, has_cores, has_threads, has_maxcpus;
    uint64_t cpus, sockets, dies, clusters, cores, threads, maxcpus;
} MachineSmpConfig;

/* The topology in force: every member at least 1, max_cpus their product. */
typedef struct MachineSmp {
    unsigned cpus; /* present at start */
    unsigned sockets, dies, clusters, cores, threads;
    unsigned max_cpus;
} MachineSmp;

/* -m */
typedef struct MachineMemoryConfig {
    bool has_size, has_slots, has_max_size;
    uint64_t size; /* bytes */
    uint64_t slots;
    uint64_t max_size; /* bytes */
} MachineMemoryConfig;

/* -boot; strings are copied by machine_set_boot(). */
typedef struct MachineBootConfig {
    char *order, *once; /* letters a-p; NULL: the machine's default */
    bool menu, has_menu, strict, has_strict;
    int64_t splash_time, reboot_timeout; /* ms; -1: not given */
    char *splash;
} MachineBootConfig;

#define MACHINE_MAX_NODES 128

typedef struct MachineNumaNode {
    bool present;
    uint64_t size; /* bytes; of memdev where that is given */
    bool has_size;
    Object *memdev;                      /* reference; NULL: a share of the main memory */
    uint8_t distance[MACHINE_MAX_NODES]; /* 0: not given */
    int initiator;                       /* -1: none */
    bool claimed;                        /* memdev is part of main memory */
} MachineNumaNode;

typedef struct MachineCpuSlot {
    uint64_t arch_id; /* APIC id */
    unsigned socket_id, die_id, core_id, thread_id;
    int node;    /* -1: not assigned */
    Object *cpu; /* borrowed; NULL: not plugged */
} MachineCpuSlot;

typedef struct MachineNuma {
    MachineNumaNode *nodes[MACHINE_MAX_NODES]; /* owned; NULL: absent */
    unsigned count;
    bool have_distances;
} MachineNuma;

/* A NIC of -nic or -net nic, made by the board. */
typedef struct MachineNic {
    char *model;  /* NULL: the machine's default */
    char *netdev; /* id of the peer; NULL: none */
    char *mac;    /* NULL: automatic */
    char *id;
    bool used;
} MachineNic;

/* Which default devices the user has not replaced (-nodefaults, -serial …); set by start-up before
 * machine_init_board(). */
typedef struct MachineDefaults {
    bool vga, net, floppy, cdrom;
} MachineDefaults;

#define MACHINE_SERIAL_PORTS   4
#define MACHINE_PARALLEL_PORTS 3

struct Machine {
    Object parent;

    /* properties of -machine */
    char *kernel, *initrd, *append; /* -kernel, -initrd, -append */
    char *firmware;                 /* -bios */
    Object *memory_backend;         /* memory-backend=ID; reference */
    bool dump_guest_core, mem_merge, usb, graphics, suppress_vmdesc;
    int kernel_irqchip; /* AccelIrqchipWish: the accelerator reads it */

    /* from the typed records */
    uint64_t ram_size, max_ram_size; /* bytes */
    uint64_t ram_slots;
    bool ram_size_given; /* by -m; else a memory-backend says */
    MachineSmp smp;
    char *mem_path;    /* -mem-path: file or folder of the default memory; NULL */
    bool mem_prealloc; /* -mem-prealloc */
    bool smp_given;
    MachineBootConfig boot;
    MachineNuma numa;
    char *cpu_type;                         /* QOM type name of the CPU model */
    json_t *cpu_properties;                 /* of -cpu model,key=value; owned; NULL: none */
    char *serial[MACHINE_SERIAL_PORTS];     /* chardev ids; NULL: no port */
    char *parallel[MACHINE_PARALLEL_PORTS]; /* chardev ids */
    GPtrArray *nics;                        /* MachineNic, owned */
    char *debugcon;                         /* chardev id of -debugcon; NULL: none */
    MachineDefaults defaults;
    char *vga;                 /* -vga: device model; NULL: the default */
    GPtrArray *firmware_paths; /* char *: -L folders, searched in order */
    char *uuid;                /* 8-4-4-4-12 or NULL */
    char *guest_name;          /* -name; NULL */
    GPtrArray *fw_cfg_files;   /* MachineFwCfgFile of -fw_cfg, owned */
    GPtrArray *acpi_tables;    /* GBytes of -acpitable, whole tables */
    json_t *smbios;            /* array of -smbios records; NULL: none */

    /* made by machine_complete() and the board */
    MemoryRegion *ram; /* all of main memory */
    MemoryRegion ram_container;
    MachineCpuSlot *slots; /* smp.max_cpus of them */
    unsigned n_slots;
    bool board_ready, ready;
};

typedef struct MachineFwCfgFile {
    char *name;
    GBytes *data;
} MachineFwCfgFile;

struct MachineClass {
    ObjectClass parent;
    const char *name;  /* "pc-q35-7.2" */
    const char *alias; /* "q35"; NULL: none */
    const char *desc;
    bool is_default;
    const char *deprecated;       /* why, or NULL */
    unsigned min_cpus, max_cpus;  /* 0 of max_cpus: no CPU at all */
    uint64_t default_ram_size;    /* bytes */
    const char *default_ram_id;   /* "pc.ram"; NULL: the machine has no RAM */
    const char *default_cpu_type; /* NULL: none */
    const char *default_nic;
    const char *default_boot_order;
    bool has_debugcon;
    bool no_serial, no_parallel, no_floppy, no_cdrom;
    bool dies_supported, clusters_supported;
    bool hotpluggable_cpus, numa_supported;
    /* Weaker rows later; ends with a NULL driver. */
    const GlobalProperty *const *compat; /* NULL-terminated */

    bool (*init)(Machine *m, Error **errp);    /* board; on failure leaves nothing behind */
    bool (*ready)(Machine *m, Error **errp);   /* all devices are there */
    void (*finish)(Machine *m);                /* mirror of init, also of one that failed */
    void (*reset)(Machine *m, ResetType type); /* NULL: machine_reset_all() */
    void (*wakeup)(Machine *m);
};

static inline UNUSED Machine *machine_cast(void *obj)
{
    return (Machine *)object_cast((Object *)obj, TYPE_MACHINE);
}
OBJECT_DECLARE_CLASS(MachineClass, machine, TYPE_MACHINE)

/* --- Classes --- */

/* Accepts "q35", "pc-q35-7.2" and "pc-q35-7.2-machine"; an error suggests the nearest. */
MachineClass *machine_class_find(const char *name, Error **errp);
MachineClass *machine_class_default(void); /* NULL if no type claims it */
/* -machine help */
void machine_print_list(GString *out);

/* --- Life --- */

/* The machine of this process, or NULL. */
Machine *machine_current(void);
Machine *machine_create(MachineClass *mc, Error **errp);
MUST_CHECK bool machine_set_memory(Machine *m, const MachineMemoryConfig *config, Error **errp);
MUST_CHECK bool machine_set_smp(Machine *m, const MachineSmpConfig *config, Error **errp);
MUST_CHECK bool machine_set_boot(Machine *m, const MachineBootConfig *config, Error **errp);
/* Called with neither -m nor -smp too: the class's defaults. */
MUST_CHECK bool machine_apply_compat(Machine *m, Error **errp);
MUST_CHECK bool machine_complete(Machine *m, Error **errp);
MUST_CHECK bool machine_init_board(Machine *m, Error **errp);
MUST_CHECK bool machine_ready(Machine *m, Error **errp);
/* Orderly end, whatever state creation reached; NULL allowed. vCPUs and iothreads are stopped. */
void machine_destroy(Machine *m);
void machine_reset(Machine *m, ResetType type);

/* --- NUMA (-numa) --- */

/* node: -1 takes the next free number. cpus: pairs (first, last) of CPU indexes. memdev: the
 * backend's id, or NULL. */
typedef struct MachineNumaNodeConfig {
    bool has_nodeid, has_mem, has_initiator;
    uint64_t nodeid;
    uint64_t mem; /* bytes */
    const char *memdev;
    const uint64_t *cpus;
    size_t n_cpus;
    uint64_t initiator;
} MachineNumaNodeConfig;
MUST_CHECK bool machine_numa_add_node(Machine *m, const MachineNumaNodeConfig *config,
                                      Error **errp);
MUST_CHECK bool machine_numa_add_distance(Machine *m, uint64_t src, uint64_t dst, uint64_t val,
                                          Error **errp);
typedef struct MachineNumaCpuConfig {
    uint64_t node_id;
    bool has_socket_id, has_die_id, has_core_id, has_thread_id;
    uint64_t socket_id, die_id, core_id, thread_id;
} MachineNumaCpuConfig;
MUST_CHECK bool machine_numa_add_cpu(Machine *m, const MachineNumaCpuConfig *config, Error **errp);

/* --- CPUs --- */

/* Slots with their topology and APIC ids; valid after machine_set_smp(). */
const MachineCpuSlot *machine_cpu_slots(Machine *m, unsigned *count);

/* --- Firmware files --- */

/* Full path of a firmware file: as given when it has a slash or exists, else in the -L folders and
 * the distribution's; g_free. NULL with an error that lists where was looked. */
char *machine_find_firmware(Machine *m, const char *name, Error **errp);

#endif
