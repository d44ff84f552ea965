/* Handlers of sample.schema's commands for tests in which no command of it is run. */
#ifndef TESTS_SCHEMA_SAMPLE_HANDLERS_H
#define TESTS_SCHEMA_SAMPLE_HANDLERS_H

#include "schema/sample.h"

bool qmp_draw(const DrawArgs *args, PointList *ret, Error **errp)
{
    return true;
}

bool qmp_noop(Error **errp)
{
    return true;
}

bool qmp_query_pen(Point *ret, Error **errp)
{
    return true;
}

bool qmp_query_pen_name(char **ret, Error **errp)
{
    return true;
}

bool qmp_any_object_add(const AnyObject *args, Error **errp)
{
    return true;
}

bool qmp_wait_point(const WaitPointArgs *args, QmpReply *reply, Error **errp)
{
    return true;
}

bool qmp_wait_empty(struct Monitor *monitor, QmpReply *reply, Error **errp)
{
    return true;
}

bool qmp_x_old(OldAndNew *ret, Error **errp)
{
    return true;
}

#endif
