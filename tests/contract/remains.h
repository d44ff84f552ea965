/* What something that was made and taken away could leave behind in the process. */
#ifndef CONTRACT_REMAINS_H
#define CONTRACT_REMAINS_H

#include "machine/machine.h"

typedef struct Remains {
    unsigned descriptors, threads, objects, devices, net_clients, block_nodes;
} Remains;

/* What is to happen later happens now: bottom halves, deferred frees. Machine lock held. */
Remains remains_now(void);
/* Fails the test, which was about `what`. */
void assert_nothing_left(const Remains *before, const char *what);

/* A machine of this type with its board, under the qtest accelerator, to which devices can still be
 * added at will; NULL with an error, and then nothing is left of it. */
Machine *contract_machine_new(const char *type, Error **errp);
void contract_machine_free(Machine *m);

#endif
