/*
 * activity.h
 *		How far something that takes long has come, for those who wait.
 */
#ifndef CG_ACTIVITY_H
#define CG_ACTIVITY_H

#include "postgres.h"

extern void cg_activity_init(void);
extern void cg_show_progress(const char *what, int64 done, int64 total);
extern void cg_end_progress(void);

#endif
