/*
 * Reset in three phases over the tree of buses and devices:
 *
 *   enter  reset the object's own state; no effect on others
 *   hold   effects on others that a held reset has (lower lines)
 *   exit   leave reset: effects that need everybody's state to be reset
 *
 * Children first in each phase. Machine lock held. Registered functions run at the end of hold.
 */
#ifndef BUS_RESET_H
#define BUS_RESET_H

#include "bus/device.h"

#define TYPE_RESETTABLE "resettable"

typedef enum ResetType { RESET_COLD, RESET_WAKEUP, RESET_SNAPSHOT_LOAD } ResetType;

/* Implemented by devices and buses; DeviceClass.reset is hold. Each member may be NULL. */
typedef struct ResettableClass {
    ObjectClass parent;
    void (*enter)(Object *obj, ResetType type);
    void (*hold)(Object *obj, ResetType type);
    void (*exit)(Object *obj, ResetType type);
} ResettableClass;

OBJECT_DECLARE_CLASS(ResettableClass, resettable, TYPE_RESETTABLE)

/* One device with what hangs on it; one bus with all its devices. */
void device_reset(Device *dev);
void bus_reset(Bus *bus);

/* Things outside the tree that the machine's reset also resets (in order of registration). */
typedef void ResetFn(void *opaque);
void reset_register(ResetFn *fn, void *opaque);
void reset_unregister(ResetFn *fn, void *opaque);
/* Everything: the system bus's tree and the registered functions. */
void machine_reset_all(ResetType type);

#endif
