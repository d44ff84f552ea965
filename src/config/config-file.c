/*
 * Config files:
 *
 *     # comment
 *     [device "net0"]
 *       driver = "virtio-net-pci"
 *
 * A section is one option, found by its group; the name in quotes is its id. Keys are those of the
 * option grammar. An option without argument is an empty section; the argument of one that isn't
 * made of keys is called "value".
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <glib.h>

#include "config/config-internal.h"
#include "config/keyval.h"

/* More is no config file. */
#define FILE_SIZE_MAX (4 << 20)

#define SCALAR_KEY "value"

/* --- Reading --- */

typedef struct Reader {
    Config *config;
    const char *path;
    int line;
    /* the section being read; NULL outside */
    const OptionInfo *option;
    json_t *tree;
    int section_line;
    Error **errp;
} Reader;

static bool fail(Reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool fail(Reader *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, args);
    va_end(args);
    error_set(r->errp, "%s:%d: %s", r->path, r->line, text);
    return false;
}

/* The section is complete: give it to the configuration. */
static bool end_section(Reader *r)
{
    ConfigOrigin origin = { .file = r->path, .line = r->section_line };
    const OptionInfo *option = r->option;
    json_t *tree = g_steal_pointer(&r->tree);
    ERROR_AUTO err = NULL;
    bool ok;

    r->option = NULL;
    if (!option) {
        return true;
    }
    tree = keyval_finish(tree, &err);
    if (!tree) {
        r->line = r->section_line;
        return fail(r, "%s", error_message(err));
    }
    if (option_is_keyed(option)) {
        ok = config_add(r->config, option, tree, VALUE_MODE_TEXT, &origin, r->errp);
    } else {
        /* through the text, so that sugar is what it is on the command line */
        const char *value = json_string_value(json_object_get(tree, SCALAR_KEY));
        r->line = r->section_line;
        if (json_object_size(tree) != (option->value ? 1 : 0) || (option->value && !value)) {
            ok = option->value
                     ? fail(r, "section '%s' takes one key, '%s'", option->group, SCALAR_KEY)
                     : fail(r, "section '%s' takes no keys", option->group);
        } else {
            ok = config_add_text(r->config, option, value, &origin, r->errp);
        }
    }
    json_decref(tree);
    return ok;
}

/* Behind the text, white space and nothing else? */
static bool at_end(const char *text)
{
    text += strspn(text, " \t\r");
    return !*text;
}

/* [group] or [group "id"] */
static bool begin_section(Reader *r, char *text)
{
    char *group = text + 1, *id = NULL;
    size_t len = strcspn(group, " \t]");
    char *rest = group + len + strspn(group + len, " \t");

    if (*rest == '"') {
        id = rest + 1;
        char *quote = strchr(id, '"');
        if (!quote) {
            return fail(r, "the id in '[group \"id\"]' lacks its closing quote");
        }
        *quote = '\0';
        rest = quote + 1 + strspn(quote + 1, " \t");
    }
    if (*rest != ']' || !at_end(rest + 1) || !len) {
        return fail(r, "expected a section: [group] or [group \"id\"]");
    }
    group[len] = '\0';
    if (!end_section(r)) {
        return false;
    }
    r->option = option_find_group(group);
    if (!r->option) {
        const char *near = option_nearest_group(group);
        return near ? fail(r, "there is no option group '%s'; did you mean '%s'?", group, near)
                    : fail(r, "there is no option group '%s'", group);
    }
    if (r->option->flags & (OPTION_FIRST | OPTION_NOFILE)) {
        r->option = NULL;
        return fail(r, "'%s' can only be given on the command line", group);
    }
    r->tree = json_object();
    r->section_line = r->line;
    if (id && !text_is_id(id)) {
        return fail(r, "'%s' is no id: a letter, then letters, digits, '-', '.' or '_'", id);
    }
    if (id) {
        json_object_set_new(r->tree, "id", json_string(id));
    }
    return true;
}

/* key = "value" */
static bool add_pair(Reader *r, char *text)
{
    size_t len = strcspn(text, " \t=\"");
    char *rest = text + len + strspn(text + len, " \t");
    ERROR_AUTO err = NULL;

    if (!r->option) {
        return fail(r, "expected a section: [group] or [group \"id\"]");
    }
    if (!len || *rest != '=') {
        return fail(r, "expected key = \"value\"");
    }
    rest += 1 + strspn(rest + 1, " \t");
    char *quote = *rest == '"' ? strchr(rest + 1, '"') : NULL;
    if (!quote || !at_end(quote + 1)) {
        return fail(r, "expected key = \"value\" with the value in quotes");
    }
    text[len] = '\0';
    *quote = '\0';
    const ValueType *type = option_is_keyed(r->option) ? r->option->value->type : NULL;
    if (!keyval_add(r->tree, text, rest + 1, type, &err)) {
        return fail(r, "%s", error_message(err));
    }
    return true;
}

static bool read_line(Reader *r, char *line)
{
    char *text = line + strspn(line, " \t\r");

    if (!*text || *text == '#') {
        return true;
    }
    return *text == '[' ? begin_section(r, text) : add_pair(r, text);
}

/* NULL with errno */
static char *load_file(const char *path)
{
    FILE *file = fopen(path, "re");

    if (!file) {
        return NULL;
    }
    GString *text = g_string_new(NULL);
    char buf[4096];
    size_t n;
    errno = 0;
    while ((n = fread(buf, 1, sizeof(buf), file)) > 0 && text->len <= FILE_SIZE_MAX) {
        g_string_append_len(text, buf, (gssize)n);
    }
    int saved = ferror(file) ? errno : text->len > FILE_SIZE_MAX ? EFBIG : 0;
    fclose(file);
    if (!saved && memchr(text->str, 0, text->len)) {
        saved = EILSEQ;
    }
    if (saved) {
        g_string_free(text, true);
        errno = saved;
        return NULL;
    }
    return g_string_free(text, false);
}

static bool read_text(Config *config, const char *path, char *text, Error **errp)
{
    Reader r = { .config = config, .path = path, .errp = errp };
    bool ok = true;

    for (char *line = text; ok && line;) {
        char *end = strchr(line, '\n');
        if (end) {
            *end = '\0';
        }
        r.line++;
        ok = read_line(&r, line);
        line = end ? end + 1 : NULL;
    }
    ok = ok && end_section(&r);
    json_decref(r.tree);
    return ok;
}

bool config_read_file(Config *config, const char *path, Error **errp)
{
    g_autofree char *text = load_file(path);

    if (!text) {
        error_set_errno(errp, errno, "can't read config file '%s'", path);
        return false;
    }
    return read_text(config, path, text, errp);
}

bool config_read_default_file(Config *config, Error **errp)
{
    const char *folder = g_getenv("RHEA_CONFDIR");
    g_autofree char *path = g_build_filename(folder ? folder : RHEA_CONFDIR, "rhea.conf", NULL);
    g_autofree char *text = load_file(path);

    if (!text) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return true;
        }
        error_set_errno(errp, errno, "can't read config file '%s'", path);
        return false;
    }
    return read_text(config, path, text, errp);
}

/* --- Writing --- */

typedef struct PairWriter {
    GString *out;
    bool skip_id; /* it stands in the section's head */
} PairWriter;

static bool write_pair(const char *key, const char *value, void *opaque, Error **errp)
{
    PairWriter *w = opaque;

    if (strpbrk(value, "\"\n")) {
        error_set(errp,
                  "the value of parameter '%s' has a quote or a line end, which a config file "
                  "can't hold",
                  key);
        return false;
    }
    if (!w->skip_id || !g_str_equal(key, "id")) {
        g_string_append_printf(w->out, "  %s = \"%s\"\n", key, value);
    }
    return true;
}

static bool write_item(const ConfigItem *item, GString *out, Error **errp)
{
    const char *id = json_string_value(json_object_get(item->json, "id"));
    PairWriter w = { .out = out, .skip_id = id && text_is_id(id) };
    bool ok = true;

    if (w.skip_id) {
        g_string_append_printf(out, "[%s \"%s\"]\n", item->option->group, id);
    } else {
        g_string_append_printf(out, "[%s]\n", item->option->group);
    }
    if (option_is_keyed(item->option)) {
        ok = keyval_flatten(item->json, write_pair, &w, errp);
    } else if (item->option->value) {
        ok = write_pair(SCALAR_KEY, json_string_value(item->json), &w, errp);
    }
    g_string_append_c(out, '\n');
    if (!ok) {
        config_item_prepend(item, errp);
    }
    return ok;
}

bool config_write_file(const Config *config, const char *path, Error **errp)
{
    g_autoptr(GString) out = g_string_new("# rhea config file\n\n");

    for (guint i = 0; i < config->items->len; i++) {
        const ConfigItem *item = config->items->pdata[i];
        if (item->option->flags & (OPTION_FIRST | OPTION_NOFILE)) {
            continue;
        }
        if (!write_item(item, out, errp)) {
            return false;
        }
    }
    bool to_stdout = g_str_equal(path, "-");
    FILE *file = to_stdout ? stdout : fopen(path, "we");
    if (!file) {
        error_set_errno(errp, errno, "can't write config file '%s'", path);
        return false;
    }
    bool ok = fwrite(out->str, 1, out->len, file) == out->len;
    ok = (to_stdout ? fflush(file) : fclose(file)) == 0 && ok;
    if (!ok) {
        error_set_errno(errp, errno, "can't write config file '%s'", path);
    }
    return ok;
}
