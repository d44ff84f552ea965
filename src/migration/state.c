#include "migration/state.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "base/value.h"
#include "event/clock.h"

/* Longest name of an entry or subsection that a stream can hold. */
#define STATE_NAME_MAX    255
#define STATE_LENGTH_SIZE 4

/* --- Bytes --- */

void state_put(VmStateStream *s, const void *data, size_t len)
{
    g_byte_array_append(s->out, data, len);
}

void state_put_number(VmStateStream *s, uint64_t value, size_t size)
{
    uint8_t bytes[sizeof(value)];

    for (size_t i = 0; i < size; i++) {
        bytes[i] = value >> (8 * (size - 1 - i));
    }
    state_put(s, bytes, size);
}

bool state_get(VmStateStream *s, void *data, size_t len, Error **errp)
{
    if (len > s->len - s->at) {
        error_set(errp, "the saved state ends %zu bytes early", len - (s->len - s->at));
        return false;
    }
    memcpy(data, s->in + s->at, len);
    s->at += len;
    return true;
}

bool state_get_number(VmStateStream *s, uint64_t *value, size_t size, Error **errp)
{
    uint8_t bytes[sizeof(*value)];

    *value = 0;
    if (!state_get(s, bytes, size, errp)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        *value = *value << 8 | bytes[i];
    }
    return true;
}

/* A length that is known only when what it is of has been written. */
static guint begin_length(VmStateStream *s)
{
    guint at = s->out->len;

    state_put_number(s, 0, STATE_LENGTH_SIZE);
    return at;
}

static void end_length(VmStateStream *s, guint at)
{
    uint32_t len = htobe32(s->out->len - at - STATE_LENGTH_SIZE);

    memcpy(s->out->data + at, &len, sizeof(len));
}

static void put_name(VmStateStream *s, const char *name, size_t length_size)
{
    size_t len = strlen(name);

    g_assert(len <= STATE_NAME_MAX);
    state_put_number(s, len, length_size);
    state_put(s, name, len);
}

static bool get_name(VmStateStream *s, char name[STATE_NAME_MAX + 1], size_t length_size,
                     Error **errp)
{
    uint64_t len;

    if (!state_get_number(s, &len, length_size, errp)) {
        return false;
    }
    if (len > STATE_NAME_MAX) {
        error_set(errp, "a name of %" PRIu64 " bytes in the saved state", len);
        return false;
    }
    name[len] = 0;
    return state_get(s, name, len, errp);
}

/* The next u32 length and so many bytes as a stream of their own. */
static bool get_part(VmStateStream *s, VmStateStream *part, Error **errp)
{
    uint64_t len;

    if (!state_get_number(s, &len, STATE_LENGTH_SIZE, errp)) {
        return false;
    }
    if (len > s->len - s->at) {
        error_set(errp, "a part of %" PRIu64 " bytes, where the saved state has %zu left", len,
                  s->len - s->at);
        return false;
    }
    *part = (VmStateStream){ .in = s->in + s->at, .len = len };
    s->at += len;
    return true;
}

static bool check_used_up(const VmStateStream *s, Error **errp)
{
    if (s->at != s->len) {
        error_set(errp, "%zu bytes of saved state are left over", s->len - s->at);
        return false;
    }
    return true;
}

/* --- Fields --- */

static bool field_exists(const VmStateField *f, void *opaque, int version)
{
    return version >= f->version && (!f->present || f->present(opaque, version));
}

static bool field_count(const VmStateField *f, void *opaque, size_t *count, Error **errp)
{
    size_t most = f->count ?: 1;

    *count = most;
    if (f->count_size) {
        uint64_t n = value_load_uint((char *)opaque + f->count_offset, f->count_size);
        if (n > most) {
            error_set(errp, "field '%s': %" PRIu64 " elements, where %zu are possible", f->name, n,
                      most);
            return false;
        }
        *count = n;
    }
    return true;
}

static char *field_slot(const VmStateField *f, void *opaque)
{
    char *slot = (char *)opaque + f->offset;

    return f->pointer ? *(char **)slot : slot;
}

static size_t element_stride(const VmStateField *f)
{
    return f->kind == VMSTATE_KIND_TIMER ? sizeof(Timer *) : f->size;
}

static bool save_body(VmStateStream *s, const VmState *state, void *opaque, Error **errp);
static bool load_body(VmStateStream *s, const VmState *state, void *opaque, int version,
                      Error **errp);

static bool save_element(VmStateStream *s, const VmStateField *f, char *slot, Error **errp)
{
    switch (f->kind) {
    case VMSTATE_KIND_UINT:
    case VMSTATE_KIND_INT:
        state_put_number(s, value_load_uint(slot, f->size), f->size);
        return true;
    case VMSTATE_KIND_BOOL:
        state_put_number(s, *(bool *)slot, 1);
        return true;
    case VMSTATE_KIND_BUFFER:
        state_put(s, slot, f->size);
        return true;
    case VMSTATE_KIND_STRUCT:
        return save_body(s, f->state, slot, errp);
    case VMSTATE_KIND_TIMER: {
        Timer *timer = *(Timer **)slot;
        state_put_number(s, timer ? timer_deadline(timer) : -1, sizeof(int64_t));
        return true;
    }
    case VMSTATE_KIND_UNUSED:
        for (size_t i = 0; i < f->size; i++) {
            state_put_number(s, 0, 1);
        }
        return true;
    case VMSTATE_KIND_CUSTOM:
        return f->custom->save(s, slot, f, errp);
    }
    g_assert_not_reached();
}

static bool load_timer(VmStateStream *s, const VmStateField *f, Timer *timer, Error **errp)
{
    uint64_t value;

    if (!state_get_number(s, &value, sizeof(value), errp)) {
        return false;
    }
    if ((int64_t)value < -1 || (!timer && (int64_t)value != -1)) {
        error_set(errp, "a timer at %" PRId64 " ns%s", (int64_t)value,
                  timer ? "" : ", where there is none");
        return false;
    }
    if (timer && (int64_t)value == -1) {
        timer_cancel(timer);
    } else if (timer) {
        timer_set(timer, (int64_t)value);
    }
    return true;
}

static bool load_element(VmStateStream *s, const VmStateField *f, char *slot, int version,
                         Error **errp)
{
    uint64_t value;
    uint8_t byte;

    switch (f->kind) {
    case VMSTATE_KIND_UINT:
    case VMSTATE_KIND_INT:
        if (!state_get_number(s, &value, f->size, errp)) {
            return false;
        }
        value_store_int(slot, f->size, value);
        return true;
    case VMSTATE_KIND_BOOL:
        if (!state_get(s, &byte, 1, errp)) {
            return false;
        }
        if (byte > 1) {
            error_set(errp, "%u is neither true nor false", byte);
            return false;
        }
        *(bool *)slot = byte;
        return true;
    case VMSTATE_KIND_BUFFER:
        return state_get(s, slot, f->size, errp);
    case VMSTATE_KIND_STRUCT:
        return load_body(s, f->state, slot, version, errp);
    case VMSTATE_KIND_TIMER:
        return load_timer(s, f, *(Timer **)slot, errp);
    case VMSTATE_KIND_UNUSED:
        for (size_t i = 0; i < f->size; i++) {
            if (!state_get(s, &byte, 1, errp)) {
                return false;
            }
        }
        return true;
    case VMSTATE_KIND_CUSTOM:
        return f->custom->load(s, slot, f, errp);
    }
    g_assert_not_reached();
}

static bool save_field(VmStateStream *s, const VmStateField *f, void *opaque, Error **errp)
{
    char *slot = field_slot(f, opaque);
    size_t count;

    if (!field_count(f, opaque, &count, errp)) {
        return false;
    }
    if (f->kind == VMSTATE_KIND_STRUCT) {
        state_put_number(s, f->state->version, 4);
    }
    for (size_t i = 0; i < count; i++) {
        if (!save_element(s, f, slot + i * element_stride(f), errp)) {
            error_prepend(errp, "field '%s': ", f->name);
            return false;
        }
    }
    return true;
}

static bool check_version(const VmState *state, uint64_t version, Error **errp)
{
    if (version < (uint64_t)state->minimum_version || version > (uint64_t)state->version) {
        error_set(errp, "'%s' was saved as version %" PRIu64 ", versions %d to %d can be loaded",
                  state->name, version, state->minimum_version, state->version);
        return false;
    }
    return true;
}

static bool load_field(VmStateStream *s, const VmStateField *f, void *opaque, Error **errp)
{
    char *slot = field_slot(f, opaque);
    uint64_t version = 0;
    size_t count;

    if (!field_count(f, opaque, &count, errp)) {
        return false;
    }
    if (f->kind == VMSTATE_KIND_STRUCT &&
        (!state_get_number(s, &version, 4, errp) || !check_version(f->state, version, errp))) {
        error_prepend(errp, "field '%s': ", f->name);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!load_element(s, f, slot + i * element_stride(f), version, errp)) {
            error_prepend(errp, "field '%s': ", f->name);
            return false;
        }
    }
    return true;
}

/* --- Subsections: what is there only where it is needed --- */

static bool save_subsections(VmStateStream *s, const VmState *state, void *opaque, Error **errp)
{
    guint count_at = s->out->len;
    unsigned count = 0;

    state_put_number(s, 0, 1);
    for (const VmState *const *sub = state->subsections; sub && *sub; sub++) {
        if ((*sub)->needed && !(*sub)->needed(opaque)) {
            continue;
        }
        put_name(s, (*sub)->name, 1);
        state_put_number(s, (*sub)->version, 4);
        guint length = begin_length(s);
        if (!save_body(s, *sub, opaque, errp)) {
            error_prepend(errp, "subsection '%s': ", (*sub)->name);
            return false;
        }
        end_length(s, length);
        count++;
    }
    s->out->data[count_at] = count;
    return true;
}

static const VmState *find_subsection(const VmState *state, const char *name)
{
    for (const VmState *const *sub = state->subsections; sub && *sub; sub++) {
        if (!strcmp((*sub)->name, name)) {
            return *sub;
        }
    }
    return NULL;
}

static bool load_subsection(VmStateStream *s, const VmState *state, void *opaque, Error **errp)
{
    char name[STATE_NAME_MAX + 1];
    const VmState *sub;
    VmStateStream part;
    uint64_t version;

    if (!get_name(s, name, 1, errp) || !state_get_number(s, &version, 4, errp) ||
        !get_part(s, &part, errp)) {
        return false;
    }
    sub = find_subsection(state, name);
    if (!sub) {
        error_set(errp, "unknown subsection '%s' of '%s'", name, state->name);
        return false;
    }
    if (!check_version(sub, version, errp) || !load_body(&part, sub, opaque, version, errp) ||
        !check_used_up(&part, errp)) {
        error_prepend(errp, "subsection '%s': ", name);
        return false;
    }
    return true;
}

static bool load_subsections(VmStateStream *s, const VmState *state, void *opaque, Error **errp)
{
    uint64_t count;

    if (!state_get_number(s, &count, 1, errp)) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!load_subsection(s, state, opaque, errp)) {
            return false;
        }
    }
    return true;
}

/* --- Descriptions --- */

static bool save_fields(VmStateStream *s, const VmState *state, void *opaque, Error **errp)
{
    for (const VmStateField *f = state->fields; f && f->name; f++) {
        if (field_exists(f, opaque, state->version) && !save_field(s, f, opaque, errp)) {
            return false;
        }
    }
    return save_subsections(s, state, opaque, errp);
}

static bool save_body(VmStateStream *s, const VmState *state, void *opaque, Error **errp)
{
    if (state->pre_save && !state->pre_save(opaque, errp)) {
        return false;
    }
    bool ok = save_fields(s, state, opaque, errp);
    if (state->post_save) {
        state->post_save(opaque);
    }
    return ok;
}

static bool load_body(VmStateStream *s, const VmState *state, void *opaque, int version,
                      Error **errp)
{
    if (state->pre_load && !state->pre_load(opaque, errp)) {
        return false;
    }
    for (const VmStateField *f = state->fields; f && f->name; f++) {
        if (field_exists(f, opaque, version) && !load_field(s, f, opaque, errp)) {
            return false;
        }
    }
    return load_subsections(s, state, opaque, errp) &&
           (!state->post_load || state->post_load(opaque, version, errp));
}

bool state_save(const VmState *state, void *opaque, GByteArray *out, Error **errp)
{
    VmStateStream s = { .out = out };

    if (state->unmigratable) {
        error_set(errp, "the state of '%s' cannot be saved", state->name);
        return false;
    }
    return !FAULT("state_save", errp) && save_body(&s, state, opaque, errp);
}

bool state_load(const VmState *state, void *opaque, int version, const void *data, size_t len,
                Error **errp)
{
    VmStateStream s = { .in = data, .len = len };

    return check_version(state, version, errp) && load_body(&s, state, opaque, version, errp) &&
           check_used_up(&s, errp);
}

/* --- The machine --- */

typedef struct SaveAll {
    GByteArray *out;
    Error **errp;
} SaveAll;

static bool save_entry(const VmStateEntry *entry, void *opaque)
{
    SaveAll *all = opaque;
    VmStateStream s = { .out = all->out };

    put_name(&s, entry->name, 2);
    state_put_number(&s, entry->instance, 4);
    state_put_number(&s, entry->state->version, 4);
    guint length = begin_length(&s);
    if (!state_save(entry->state, entry->opaque, all->out, all->errp)) {
        error_prepend(all->errp, "state of '%s': ", entry->name);
        return false;
    }
    end_length(&s, length);
    return true;
}

bool state_save_machine(GByteArray *out, Error **errp)
{
    SaveAll all = { .out = out, .errp = errp };

    return vmstate_foreach(save_entry, &all);
}

typedef struct EntrySearch {
    const char *name;
    int instance;
    const VmStateEntry *found;
    GHashTable *seen;            /* VmStateEntry * that were loaded */
    const VmStateEntry *missing; /* the first that was not */
} EntrySearch;

static bool match_entry(const VmStateEntry *entry, void *opaque)
{
    EntrySearch *search = opaque;

    if (!strcmp(entry->name, search->name) && entry->instance == search->instance) {
        search->found = entry;
        return false;
    }
    return true;
}

static bool match_missing(const VmStateEntry *entry, void *opaque)
{
    EntrySearch *search = opaque;

    if (!g_hash_table_contains(search->seen, entry)) {
        search->missing = entry;
        return false;
    }
    return true;
}

static bool load_entry(VmStateStream *s, GHashTable *seen, Error **errp)
{
    char name[STATE_NAME_MAX + 1];
    uint64_t instance, version;
    VmStateStream part;

    if (!get_name(s, name, 2, errp) || !state_get_number(s, &instance, 4, errp) ||
        !state_get_number(s, &version, 4, errp) || !get_part(s, &part, errp)) {
        return false;
    }
    EntrySearch search = { .name = name, .instance = (int)instance };
    vmstate_foreach(match_entry, &search);
    if (!search.found || !g_hash_table_add(seen, (gpointer)search.found)) {
        error_set(errp,
                  search.found ? "the saved state has '%s' (instance %u) twice"
                               : "the saved state has '%s' (instance %u), this machine has not; "
                                 "start it with the same devices",
                  name, (unsigned)instance);
        return false;
    }
    if (version > INT32_MAX || !state_load(search.found->state, search.found->opaque, (int)version,
                                           part.in, part.len, errp)) {
        error_prepend(errp, "state of '%s': ", name);
        return false;
    }
    return true;
}

bool state_load_machine(const void *data, size_t len, Error **errp)
{
    VmStateStream s = { .in = data, .len = len };
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    EntrySearch search = { .seen = seen };

    while (s.at < s.len) {
        if (!load_entry(&s, seen, errp)) {
            return false;
        }
    }
    vmstate_foreach(match_missing, &search);
    if (search.missing) {
        error_set(errp,
                  "this machine has '%s' (instance %d), the saved state has not; start it "
                  "with the same devices",
                  search.missing->name, search.missing->instance);
        return false;
    }
    return true;
}
