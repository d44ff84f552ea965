/* The short forms of -serial, -monitor and their like: rewritten into what -chardev takes. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "chardev/chardev-record.h"
#include "config/keyval.h"

/* The forms without anything to take apart. */
static const char *const plain_forms[] = { "null", "pty", "stdio", "ringbuf", NULL };

/* "HOST:PORT,rest" → "host=HOST,port=PORT,rest"; the host may be empty or [v6]. Appends to out. */
static bool append_host_port(GString *out, const char *text, size_t len, const char *host_key,
                             const char *port_key, Error **errp)
{
    const char *host = text, *host_end = NULL, *colon = NULL;
    if (len && text[0] == '[') {
        host = text + 1;
        host_end = memchr(text, ']', len);
        colon = host_end && host_end + 1 < text + len && host_end[1] == ':' ? host_end + 1 : NULL;
    } else {
        for (size_t i = 0; i < len; i++) {
            colon = text[i] == ':' ? text + i : colon;
        }
        host_end = colon;
    }
    if (!colon || colon + 1 == text + len) {
        error_set(errp, "'%.*s': HOST:PORT is expected", (int)len, text);
        return false;
    }
    g_string_append_printf(out, ",%s=%.*s,%s=%.*s", host_key, (int)(host_end - host), host,
                           port_key, (int)(text + len - colon - 1), colon + 1);
    return true;
}

/* udp:[HOST]:PORT[@[LOCALHOST]:LOCALPORT] */
static bool append_udp(GString *out, const char *text, Error **errp)
{
    const char *at = strchr(text, '@');
    size_t len = at ? (size_t)(at - text) : strlen(text);
    return append_host_port(out, text, len, "host", "port", errp) &&
           (!at || append_host_port(out, at + 1, strlen(at + 1), "localaddr", "localport", errp));
}

/* The form as -chardev's text without id; NULL with an error. */
static char *rewrite(const char *text, Error **errp)
{
    for (const char *const *form = plain_forms; *form; form++) {
        if (strcmp(text, *form) == 0) {
            return g_strdup(text);
        }
    }
    static const struct {
        const char *prefix, *rewritten;
        enum { APPEND, HOST_PORT, UDP } how;
    } forms[] = {
        { "file:", "file,path=", APPEND },
        { "pipe:", "pipe,path=", APPEND },
        { "unix:", "socket,path=", APPEND },
        { "fd:", "socket,fd=", APPEND },
        { "ringbuf,", "ringbuf,", APPEND },
        { "/dev/", "serial,path=/dev/", APPEND },
        { "tcp:", "socket", HOST_PORT },
        { "telnet:", "socket,telnet=on", HOST_PORT },
        { "websocket:", "socket,websocket=on", HOST_PORT },
        { "udp:", "udp", UDP },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        if (!g_str_has_prefix(text, forms[i].prefix)) {
            continue;
        }
        GString *out = g_string_new(forms[i].rewritten);
        const char *rest = text + strlen(forms[i].prefix);
        const char *comma = strchr(rest, ',');
        size_t len = comma ? (size_t)(comma - rest) : strlen(rest);
        bool ok = true;
        if (forms[i].how == APPEND) {
            g_string_append(out, rest);
        } else if (forms[i].how == HOST_PORT) {
            ok = append_host_port(out, rest, len, "host", "port", errp);
            g_string_append(out, comma ? comma : "");
        } else {
            ok = append_udp(out, rest, errp);
        }
        return g_string_free(out, !ok);
    }
    if (strcmp(text, "vc") == 0 || g_str_has_prefix(text, "vc:")) {
        error_set(errp,
                  "'%s': virtual consoles need a display, and there is none; use for instance "
                  "'stdio', 'pty' or 'unix:PATH,server=on'",
                  text);
        return NULL;
    }
    error_set(errp,
              "'%s' is no character device; use for instance 'stdio', 'pty', 'null', "
              "'unix:PATH,server=on,wait=off', 'tcp:HOST:PORT', 'file:PATH' or 'chardev:ID'",
              text);
    return NULL;
}

bool chardev_new_from_text(const char *id, const char *text, bool *with_monitor, Chardev **result,
                           Error **errp)
{
    *result = NULL;
    if (with_monitor) {
        *with_monitor = false;
    }
    if (strcmp(text, "none") == 0) {
        return true;
    }
    if (g_str_has_prefix(text, "chardev:")) {
        *result = chardev_find_or_error(text + strlen("chardev:"), errp);
        return *result != NULL;
    }
    bool mux = g_str_has_prefix(text, "mon:");
    if (mux && !with_monitor) {
        error_set(errp, "'%s': 'mon:' is not possible here", text);
        return false;
    }
    g_autofree char *form = rewrite(mux ? text + strlen("mon:") : text, errp);
    if (!form) {
        return false;
    }
    bool help = false;
    json_t *json = keyval_parse(form, &value_type_chardev_options, &help, errp);
    if (!json) {
        return false;
    }
    json_object_set_new(json, "id", json_string(id));
    if (mux) {
        json_object_set_new(json, "mux", json_string("on"));
    }
    ChardevOptions options = { 0 };
    bool ok = value_parse(&value_type_chardev_options, &options, json, VALUE_MODE_TEXT, errp);
    json_decref(json);
    if (ok) {
        *result = chardev_new_from_options(&options, errp);
        value_release(&value_type_chardev_options, &options);
    }
    if (!*result) {
        error_prepend(errp, "'%s': ", text);
        return false;
    }
    if (with_monitor) {
        *with_monitor = mux;
    }
    return true;
}
