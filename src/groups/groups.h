/*
 * groups.h
 *		What other rooms call of the groups room.
 */
#ifndef CG_GROUPS_H
#define CG_GROUPS_H

#include "postgres.h"

#include "utils/date.h"

#include "catalog/tables.h"

extern bool cg_membership_holds(CgScan *members, DateADT day);
extern void cg_delete_members(Datum *customers, Datum *groups, int n);

#endif
