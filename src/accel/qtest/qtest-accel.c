/*
 * The qtest accelerator: no guest code runs, and virtual time is the test's. CPUs exist, without
 * threads, so that devices find who they signal.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/accel.h"
#include "accel/qtest/qtest-clock.h"

#define TYPE_QTEST_ACCEL "qtest-accel"

static bool qtest_init_machine(Accel *accel, Object *machine, Error **errp)
{
    qtest_clock_take();
    return true;
}

static void qtest_finish_machine(Accel *accel)
{
    qtest_clock_release();
}

static bool qtest_create_vcpu(Accel *accel, Cpu *cpu, Error **errp)
{
    cpu->thread_id = (pid_t)syscall(SYS_gettid);
    cpu->stopped = true;
    return true;
}

static void qtest_accel_class_init(ObjectClass *klass, const void *data)
{
    AccelClass *ac = accel_class_cast(klass);

    ac->name = "qtest";
    ac->init_machine = qtest_init_machine;
    ac->finish_machine = qtest_finish_machine;
    ac->create_vcpu = qtest_create_vcpu;
    ac->wants_virtual_clock = true;
}

static const TypeInfo qtest_accel_info = {
    .name = TYPE_QTEST_ACCEL,
    .parent = TYPE_ACCEL,
    .help = "No guest code; devices and time are driven by a test",
    .class_init = qtest_accel_class_init,
};
OBJECT_TYPE(qtest_accel, qtest_accel_info)
