/*
 * Line editing for a terminal at the other end of a byte stream: cursor keys, history, completion.
 *
 * Bytes come in one at a time, what the terminal is to show goes out through a function. No I/O and
 * no global state of its own.
 */
#ifndef MONITOR_READLINE_H
#define MONITOR_READLINE_H

#include <glib.h>

#include "base/compiler.h"

#define READLINE_MAX_LINE    4095 /* bytes */
#define READLINE_MAX_HISTORY 64   /* lines */

typedef struct Readline Readline;

typedef struct ReadlineHooks {
    void (*print)(void *opaque, const char *text);
    /* A whole line, without its end. */
    void (*line)(void *opaque, const char *line);
    /* Add candidates (g_strdup'd) for the word that ends at `text`'s end; *word_start is where that
     * word begins. */
    void (*complete)(void *opaque, const char *text, GPtrArray *candidates, size_t *word_start);
} ReadlineHooks;

Readline *readline_new(const ReadlineHooks *hooks, void *opaque);
void readline_free(Readline *rl); /* NULL allowed */
/* Begin a line: print the prompt. */
void readline_start(Readline *rl, const char *prompt);
void readline_byte(Readline *rl, uint8_t byte);
/* Print prompt and line again (after other output). */
void readline_redraw(Readline *rl);
/* "0: 'line'" for each line of the history. */
void readline_print_history(const Readline *rl, GString *out);
/* Forget the line being typed and half an escape sequence. */
void readline_reset(Readline *rl);

#endif
