/* Parsing of a human monitor command's arguments. */
#ifndef MONITOR_HMP_ARGS_H
#define MONITOR_HMP_ARGS_H

#include "monitor/hmp.h"

/* The arguments in `text`: new reference; NULL with an error. An argument of type O is its text. */
json_t *hmp_parse_args(const HmpCommand *row, const char *text, Error **errp);
/* The word at *text, quotes removed (g_free); *text moves behind it. NULL with an error. */
char *hmp_next_word(const char **text, Error **errp);
bool hmp_row_takes_options(const HmpCommand *row);

#endif
