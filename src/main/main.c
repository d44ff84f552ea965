/*
 * The program: initialise, loop, clean up. What happens when is in the table of phases.c.
 */
#include "event/loop.h"
#include "main/startup.h"

int main(int argc, char **argv)
{
    StartUp startup;
    startup_begin(&startup, argc, argv);
    if (startup_advance(&startup) == STARTUP_RUN) {
        event_loop_run(event_loop_main());
    }
    return startup_finish(&startup);
}
