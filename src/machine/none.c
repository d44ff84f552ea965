/* The machine "none": no CPU, no memory, no bus. For probing, and as the ground to stand on when
 * only a monitor is wanted. */
#include "machine/machine.h"

static void none_class_init(ObjectClass *klass, const void *data)
{
    MachineClass *mc = machine_class_cast(klass);
    mc->name = "none";
    mc->desc = "empty machine";
    mc->min_cpus = 0;
    mc->max_cpus = 0;
    mc->default_ram_size = 0;
    mc->no_serial = mc->no_parallel = mc->no_floppy = mc->no_cdrom = true;
}

static const TypeInfo none_type = {
    .name = "none" MACHINE_TYPE_SUFFIX,
    .parent = TYPE_MACHINE,
    .class_init = none_class_init,
};
OBJECT_TYPE(none, none_type)
