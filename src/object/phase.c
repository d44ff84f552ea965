#include "object/phase.h"

/* Of this process's machine. */
static Phase phase_now;

void phase_advance(Phase phase)
{
    assert(phase == PHASE_NONE || phase > phase_now);
    phase_now = phase;
}

bool phase_reached(Phase phase)
{
    return phase_now >= phase;
}

const char *phase_name(Phase phase)
{
    static const char *const names[] = {
        [PHASE_NONE] = "none",
        [PHASE_TYPES] = "types",
        [PHASE_CONFIGURED] = "configured",
        [PHASE_LOOP] = "loop",
        [PHASE_MACHINE_CREATED] = "machine-created",
        [PHASE_ACCEL_CREATED] = "accel-created",
        [PHASE_BACKENDS_CREATED] = "backends-created",
        [PHASE_BOARD_INITIALIZED] = "board-initialized",
        [PHASE_READY] = "ready",
    };
    return names[phase];
}
