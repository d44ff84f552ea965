/*
 * Runs a fuzz target without libFuzzer:
 *     fuzz-NAME CORPUS-FOLDER [ROUNDS]    the corpus, then ROUNDS mutations of it
 *     fuzz-NAME CORPUS-FOLDER SECONDSs [SEED]    the same for a time
 *     fuzz-NAME FILE                      one input, to see a finding again
 * The last input is left in a file when the target crashes. Prints TAP.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define ROUNDS     20000
#define INPUT_MAX  4096 /* bytes; longer inputs find little that these don't */
#define SEED_STATE UINT64_C(0x9e3779b97f4a7c15)

static GByteArray *current; /* what the target is fed with, for the crash handler */

/* xorshift64: the same mutations on every machine */
static uint64_t random_state = SEED_STATE;
static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return n ? (uint32_t)((random_state >> 32) % n) : 0;
}

static void on_crash(int number)
{
    static const char path[] = "fuzz-crash.bin";
    FILE *file = fopen(path, "we");

    if (file) {
        fwrite(current->data, 1, current->len, file);
        fclose(file);
    }
    printf("# crashed; the input is in %s\n", path);
    fflush(stdout);
    signal(number, SIG_DFL);
    raise(number);
}

static void run(void)
{
    /* an exact copy on the heap, so that a read behind it is seen */
    uint8_t *copy = g_memdup2(current->data, current->len);
    LLVMFuzzerTestOneInput(copy, current->len);
    g_free(copy);
}

static void mutate_once(GPtrArray *corpus)
{
    GByteArray *other = corpus->pdata[random_below(corpus->len)];
    uint32_t at = random_below(current->len + 1);
    uint8_t byte = (uint8_t)random_below(256);

    switch (random_below(6)) {
    case 0: /* flip a bit */
        if (at < current->len) {
            current->data[at] ^= (uint8_t)(1 << random_below(8));
        }
        break;
    case 1: /* put a byte in */
        g_byte_array_append(current, &byte, 1);
        memmove(current->data + at + 1, current->data + at, current->len - 1 - at);
        current->data[at] = byte;
        break;
    case 2: /* take some out */
        if (at < current->len) {
            g_byte_array_remove_range(current, at, 1 + random_below(MIN(8, current->len - at)));
        }
        break;
    case 3: /* a piece of another one at the end */
        if (other->len) {
            uint32_t from = random_below(other->len);
            g_byte_array_append(current, other->data + from, random_below(other->len - from) + 1);
        }
        break;
    case 4: /* a piece of itself again */
        if (at < current->len) {
            guint len = random_below(current->len - at) + 1;
            uint8_t *piece = g_memdup2(current->data + at, len);
            g_byte_array_append(current, piece, len);
            g_free(piece);
        }
        break;
    case 5: /* another byte */
        if (at < current->len) {
            current->data[at] = byte;
        }
        break;
    }
    if (current->len > INPUT_MAX) {
        g_byte_array_set_size(current, INPUT_MAX);
    }
}

static GByteArray *load(const char *path)
{
    char *text;
    gsize len;

    if (!g_file_get_contents(path, &text, &len, NULL)) {
        fprintf(stderr, "can't read '%s'\n", path);
        exit(2);
    }
    return g_byte_array_new_take((guint8 *)text, len);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static GPtrArray *load_corpus(const char *folder)
{
    GPtrArray *corpus = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_ptr_array_add(names, g_build_filename(folder, name, NULL));
    }
    g_clear_pointer(&dir, g_dir_close);
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++) {
        g_ptr_array_add(corpus, load(names->pdata[i]));
    }
    return corpus;
}

static void set_current(const GByteArray *input)
{
    g_byte_array_set_size(current, 0);
    g_byte_array_append(current, input->data, input->len);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER [ROUNDS] | FILE\n", argv[0]);
        return 2;
    }
    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    current = g_byte_array_new();
    if (!g_file_test(argv[1], G_FILE_TEST_IS_DIR)) {
        GByteArray *one = load(argv[1]);
        set_current(one);
        run();
        g_byte_array_unref(one);
        g_byte_array_unref(current);
        return 0;
    }
    GPtrArray *corpus = load_corpus(argv[1]);
    /* "5s" is a time, "5" a number of rounds. */
    bool timed = argc > 2 && g_str_has_suffix(argv[2], "s");
    int rounds = timed ? INT_MAX : argc > 2 ? atoi(argv[2]) : ROUNDS;
    gint64 end = timed ? g_get_monotonic_time() + atoi(argv[2]) * G_USEC_PER_SEC : G_MAXINT64;
    int done = 0;
    random_state ^= argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
    printf("1..2\n");
    for (guint i = 0; i < corpus->len; i++) {
        set_current(corpus->pdata[i]);
        run();
    }
    printf("%s 1 - corpus of %u\n", corpus->len ? "ok" : "not ok", corpus->len);
    fflush(stdout);
    for (; corpus->len && done < rounds && g_get_monotonic_time() < end; done++) {
        set_current(corpus->pdata[random_below(corpus->len)]);
        for (uint32_t n = 1 + random_below(6); n; n--) {
            mutate_once(corpus);
        }
        run();
    }
    printf("ok 2 - %d mutations\n", done);
    g_ptr_array_unref(corpus);
    g_byte_array_unref(current);
    return 0;
}
