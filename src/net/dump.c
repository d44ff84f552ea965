/*
 * filter-dump: writes the frames that pass a network client into a file that packet analysers read
 * (pcap, version 2.4).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdset.h"
#include "base/iov.h"
#include "base/report.h"
#include "event/clock.h"
#include "net/net.h"
#include "object/property.h"
#include "object/user-creatable.h"

#define TYPE_FILTER_DUMP "filter-dump"

enum {
    PCAP_MAGIC = 0xa1b2c3d4,
    PCAP_MAJOR = 2,
    PCAP_MINOR = 4,
    PCAP_ETHERNET = 1,
    MAXLEN_DEFAULT = 65536
};

typedef struct PcapHeader {
    uint32_t magic;
    uint16_t major, minor;
    int32_t zone;
    uint32_t accuracy, max_len, link_type;
} PcapHeader;

typedef struct PcapRecord {
    uint32_t seconds, microseconds, kept, len;
} PcapRecord;

static const char *const direction_names[] = { "all", "rx", "tx" };
static const EnumDesc enum_net_direction = {
    .name = "NetFilterDirection",
    .names = direction_names,
    .count = 3,
};
static const ValueType value_type_net_direction = {
    .kind = VALUE_ENUM,
    .name = "NetFilterDirection",
    .size = sizeof(int),
    .enumeration = &enum_net_direction,
};
static const char *const status_names[] = { "on", "off" };
static const EnumDesc enum_filter_status = {
    .name = "NetFilterStatus",
    .names = status_names,
    .count = 2,
};
static const ValueType value_type_filter_status = {
    .kind = VALUE_ENUM,
    .name = "NetFilterStatus",
    .size = sizeof(int),
    .enumeration = &enum_filter_status,
};

typedef struct FilterDump {
    Object parent;
    char *netdev, *file;
    int queue;  /* NetDirection */
    int status; /* 0: on */
    uint32_t maxlen;
    int fd;
    NetFilter filter;
} FilterDump;

static FilterDump *dump_of(Object *obj)
{
    return (FilterDump *)object_cast(obj, TYPE_FILTER_DUMP);
}

static void dump_stop(FilterDump *d)
{
    net_filter_detach(&d->filter);
    fd_close(fd_steal(&d->fd));
}

static bool dump_frame(NetFilter *f, NetClient *sender, const struct iovec *iov, unsigned count)
{
    FilterDump *d = CONTAINER_OF(f, FilterDump, filter);
    size_t skip = sender->vnet_header_len;
    size_t size = iov_size(iov, count);
    if (d->status || size <= skip) {
        return false;
    }
    int64_t us = clock_now(CLK_HOST) / NS_PER_US;
    size_t len = size - skip;
    size_t kept = len < d->maxlen ? len : d->maxlen;
    g_autofree uint8_t *out = g_malloc(sizeof(PcapRecord) + kept);
    PcapRecord r = { us / 1000000, us % 1000000, kept, len };
    memcpy(out, &r, sizeof(r));
    iov_to_buf(iov, count, skip, out + sizeof(r), kept);
    ERROR_AUTO err = NULL;
    if (!fd_write_all(d->fd, out, sizeof(r) + kept, &err)) {
        report_warning("filter-dump '%s': %s; no more frames are written", d->parent.name,
                       error_message(err));
        dump_stop(d);
    }
    return false;
}

static void dump_client_gone(NetFilter *f)
{
    FilterDump *d = CONTAINER_OF(f, FilterDump, filter);
    fd_close(fd_steal(&d->fd));
}

static bool dump_complete(Object *obj, Error **errp)
{
    FilterDump *d = dump_of(obj);
    if (!d->netdev || !d->file) {
        error_set(errp, "filter-dump needs '%s'", d->netdev ? "file" : "netdev");
        return false;
    }
    NetClient *nc = net_netdev_find(d->netdev);
    if (!nc) {
        error_set(errp, "filter-dump: there is no netdev '%s'", d->netdev);
        return false;
    }
    d->fd = fdset_open(d->file, O_CREAT | O_TRUNC | O_WRONLY, 0644, errp);
    if (d->fd < 0) {
        return false;
    }
    PcapHeader h = {
        .magic = PCAP_MAGIC,
        .major = PCAP_MAJOR,
        .minor = PCAP_MINOR,
        .max_len = d->maxlen,
        .link_type = PCAP_ETHERNET,
    };
    if (!fd_write_all(d->fd, &h, sizeof(h), errp)) {
        fd_close(fd_steal(&d->fd));
        return false;
    }
    d->filter = (NetFilter){
        .direction = d->queue,
        .on = true,
        .frame = dump_frame,
        .gone = dump_client_gone,
    };
    net_filter_attach(&d->filter, nc);
    return true;
}

static void dump_instance_init(Object *obj)
{
    dump_of(obj)->fd = -1;
}

static void dump_finalize(Object *obj)
{
    FilterDump *d = dump_of(obj);
    dump_stop(d);
}

static const Field dump_properties[] = {
    PROP_STRING("netdev", FilterDump, netdev, NULL, .help = "client whose frames are written"),
    PROP_STRING("file", FilterDump, file, NULL, .help = "file to write; replaced"),
    PROP_UINT32("maxlen", FilterDump, maxlen, MAXLEN_DEFAULT, PROP_RANGE(1, NET_FRAME_MAX),
                .help = "bytes kept of each frame"),
    PROP_ENUM("queue", FilterDump, queue, value_type_net_direction, NET_DIRECTION_ALL,
              .help = "which way: rx is towards the guest"),
    PROP_ENUM("status", FilterDump, status, value_type_filter_status, 0,
              .flags = FIELD_DEFAULT | FIELD_LATE, .help = "write, or pause"),
    {}
};

static void dump_class_init(ObjectClass *klass, const void *data)
{
    UserCreatableClass *uc = (UserCreatableClass *)class_dynamic_cast(klass, TYPE_USER_CREATABLE);
    uc->complete = dump_complete;
    uc->late = true;
}

static const char *const dump_interfaces[] = { TYPE_USER_CREATABLE, NULL };
static const TypeInfo dump_info = {
    .name = TYPE_FILTER_DUMP,
    .parent = TYPE_OBJECT,
    .help = "write a network client's frames into a pcap file",
    .instance_size = sizeof(FilterDump),
    .properties = dump_properties,
    .class_init = dump_class_init,
    .instance_init = dump_instance_init,
    .instance_finalize = dump_finalize,
    .interfaces = dump_interfaces,
};
OBJECT_TYPE(filter_dump, dump_info)
