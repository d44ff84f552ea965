#include "monitor/hmp-vhost-user.h"

#include <string.h>

static const char *text(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key)) ?: "";
}

static long long number(json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool truth(json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* " NAME NAME* …": those with the key set; `mark` behind those that lack the other. */
static void print_names(GString *out, const char *head, json_t *list, const char *key)
{
    size_t i;
    json_t *feature;
    g_string_append_printf(out, "  %s:", head);
    json_array_foreach(list, i, feature)
    {
        if (truth(feature, key)) {
            g_string_append_printf(out, " %s", text(feature, "name"));
        }
    }
    g_string_append_c(out, '\n');
}

static void print_queues(GString *out, json_t *list)
{
    size_t i;
    json_t *q;
    json_array_foreach(list, i, q)
    {
        g_string_append_printf(
            out, "  queue %lld: %lld entries, base %lld, %s, kicks %lld, calls %lld%s%s\n",
            number(q, "index"), number(q, "size"), number(q, "base"),
            truth(q, "enabled") ? "enabled" : "disabled", number(q, "kicks"), number(q, "calls"),
            truth(q, "masked") ? ", masked" : "",
            truth(q, "doorbell") ? ", doorbell in the back end's memory" : "");
    }
}

static void print_memory(GString *out, json_t *list)
{
    size_t i;
    json_t *r;
    json_array_foreach(list, i, r)
    {
        g_string_append_printf(out, "  memory 0x%llx: %lld KiB of %s at 0x%llx, here at 0x%llx\n",
                               number(r, "guest-address"), number(r, "size") / 1024,
                               text(r, "memory"), number(r, "fd-offset"),
                               number(r, "user-address"));
    }
}

static void print_messages(GString *out, const char *head, json_t *list)
{
    size_t i;
    json_t *m;
    if (!json_array_size(list)) {
        return;
    }
    g_string_append_printf(out, "  %s:", head);
    json_array_foreach(list, i, m)
    {
        g_string_append_printf(out, " %s %lld/%lld", text(m, "name"), number(m, "sent"),
                               number(m, "received"));
    }
    g_string_append_c(out, '\n');
}

static void print_times(GString *out, json_t *info)
{
    if (json_object_get(info, "connected-at")) {
        g_string_append_printf(out, "  connected at %s", text(info, "connected-at"));
        if (json_object_get(info, "negotiation-us")) {
            g_string_append_printf(out, ", negotiated in %lld us", number(info, "negotiation-us"));
        }
        if (json_object_get(info, "start-us")) {
            g_string_append_printf(out, ", started in %lld us, running for %lld ms",
                                   number(info, "start-us"), number(info, "running-us") / 1000);
        }
        g_string_append_c(out, '\n');
    }
}

void hmp_print_vhost_user(HmpCall *call, json_t *ret)
{
    GString *out = call->out;
    size_t i;
    json_t *info;
    json_array_foreach(ret, i, info)
    {
        g_string_append_printf(out, "%s: %s\n  chardev %s, %s%s\n", text(info, "device"),
                               text(info, "state"), text(info, "chardev"), text(info, "filename"),
                               truth(info, "reconnects") ? "" : ", does not connect again");
        g_string_append_printf(out, "  connections %lld, queues at most %lld%s%s\n",
                               number(info, "connections"), number(info, "max-queues"),
                               truth(info, "logging") ? ", logging" : "",
                               truth(info, "inflight") ? ", in-flight area" : "");
        print_times(out, info);
        if (*text(info, "last-error")) {
            g_string_append_printf(out, "  last error: %s\n", text(info, "last-error"));
        }
        json_t *features = json_object_get(info, "features");
        json_t *protocol = json_object_get(info, "protocol-features");
        print_names(out, "features offered", features, "offered");
        print_names(out, "features accepted by the driver", features, "saved");
        print_names(out, "features told to the back end", features, "acked");
        print_names(out, "protocol features offered", protocol, "offered");
        print_names(out, "protocol features used", protocol, "acked");
        print_queues(out, json_object_get(info, "queues"));
        print_memory(out, json_object_get(info, "memory"));
        print_messages(out, "messages, sent/received", json_object_get(info, "messages"));
        print_messages(out, "requests of the back end", json_object_get(info, "requests"));
    }
}
