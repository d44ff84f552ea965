/*
 * The kernel's statistics of the VM and of each vCPU, which describe themselves: a header, names
 * with type and unit, and the numbers. KVM_GET_STATS_FD: Documentation/virt/kvm/api.rst of the
 * Linux sources. What comes is checked; a number that makes no sense is left out.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "accel/kvm/kvm-internal.h"

#define NAME_BYTES_MAX 256
#define COUNT_MAX      4096 /* of statistics */
#define VALUES_MAX     1024 /* of one: buckets */

static bool read_at(int fd, void *buf, size_t len, uint64_t offset)
{
    return pread(fd, buf, len, (off_t)offset) == (ssize_t)len;
}

static int open_stats(int from)
{
    KvmCpu fake = { .fd = from };
    return kvm_vcpu_ioctl(&fake, KVM_GET_STATS_FD, NULL);
}

/* The kernel's words for what they are; false: unknown to us. */
static bool describe(StatsSchemaValue *v, const struct kvm_stats_desc *d)
{
    uint32_t type = d->flags & KVM_STATS_TYPE_MASK;
    uint32_t unit = d->flags & KVM_STATS_UNIT_MASK, base = d->flags & KVM_STATS_BASE_MASK;

    *v = (StatsSchemaValue){ .exponent = d->exponent };
    switch (type) {
    case KVM_STATS_TYPE_CUMULATIVE:
        v->type = STATS_TYPE_CUMULATIVE;
        break;
    case KVM_STATS_TYPE_INSTANT:
        v->type = STATS_TYPE_INSTANT;
        break;
    case KVM_STATS_TYPE_PEAK:
        v->type = STATS_TYPE_PEAK;
        break;
    case KVM_STATS_TYPE_LINEAR_HIST:
        v->type = STATS_TYPE_LINEAR_HISTOGRAM;
        v->has_bucket_size = true;
        v->bucket_size = d->bucket_size;
        break;
    case KVM_STATS_TYPE_LOG_HIST:
        v->type = STATS_TYPE_LOG2_HISTOGRAM;
        break;
    default:
        return false;
    }
    v->has_unit = unit != KVM_STATS_UNIT_NONE;
    switch (unit) {
    case KVM_STATS_UNIT_NONE:
        break;
    case KVM_STATS_UNIT_BYTES:
        v->unit = STATS_UNIT_BYTES;
        break;
    case KVM_STATS_UNIT_SECONDS:
        v->unit = STATS_UNIT_SECONDS;
        break;
    case KVM_STATS_UNIT_CYCLES:
        v->unit = STATS_UNIT_CYCLES;
        break;
    case KVM_STATS_UNIT_BOOLEAN:
        v->unit = STATS_UNIT_BOOLEAN;
        break;
    default:
        return false;
    }
    v->has_base = d->exponent != 0;
    v->base = base == KVM_STATS_BASE_POW2 ? 2 : 10;
    return base == KVM_STATS_BASE_POW2 || base == KVM_STATS_BASE_POW10;
}

static void report_one(int fd, const struct kvm_stats_header *h, const struct kvm_stats_desc *d,
                       const char *name, AccelStatFn *fn, void *opaque)
{
    StatsSchemaValue v;
    g_autofree uint64_t *values = NULL;

    if (!describe(&v, d) || !d->size || d->size > VALUES_MAX) {
        return;
    }
    values = g_new(uint64_t, d->size);
    if (!read_at(fd, values, d->size * sizeof(uint64_t), (uint64_t)h->data_offset + d->offset)) {
        return;
    }
    v.name = (char *)(uintptr_t)name;
    fn(&v, values, d->size, opaque);
}

static bool report_all(int fd, AccelStatFn *fn, void *opaque, Error **errp)
{
    struct kvm_stats_header h;

    if (!read_at(fd, &h, sizeof(h), 0) || h.name_size > NAME_BYTES_MAX || h.num_desc > COUNT_MAX) {
        error_set(errp, "the kernel's statistics can't be understood");
        return false;
    }
    size_t step = sizeof(struct kvm_stats_desc) + h.name_size;
    g_autofree uint8_t *buffer = g_malloc0(step + 1);
    for (uint32_t i = 0; i < h.num_desc; i++) {
        if (!read_at(fd, buffer, step, h.desc_offset + (uint64_t)i * step)) {
            break;
        }
        struct kvm_stats_desc d;
        memcpy(&d, buffer, sizeof(d));
        report_one(fd, &h, &d, (const char *)buffer + sizeof(d), fn, opaque);
    }
    return true;
}

bool kvm_stats(Accel *accel, Cpu *cpu, AccelStatFn *fn, void *opaque, Error **errp)
{
    Kvm *kvm = ((KvmAccel *)accel)->kvm;
    KvmCpu *k = cpu ? cpu->accel : NULL;

    if (!kvm->caps.stats) {
        error_set(errp, "the host's kernel has no KVM_CAP_BINARY_STATS_FD");
        return false;
    }
    int fd = open_stats(k ? k->fd : kvm->vm);
    if (fd < 0) {
        error_set_errno(errp, -fd, "the kernel gives no statistics");
        return false;
    }
    bool ok = report_all(fd, fn, opaque, errp);
    close(fd);
    return ok;
}
