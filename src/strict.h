/*
 * strict.h
 *		Strict functions that do not rely on being strict.
 *
 * The functions belong to the owner of the extension, who is no superuser and
 * may ALTER one to be CALLED ON NULL INPUT: a null must not become a pointer.
 */
#ifndef CG_STRICT_H
#define CG_STRICT_H

#include "fmgr.h"

/* Returns null from a function when one of its arguments is null. */
#define CG_STRICT()                                                                                \
	do                                                                                             \
	{                                                                                              \
		for (int cg_arg = 0; cg_arg < PG_NARGS(); cg_arg++)                                        \
			if (PG_ARGISNULL(cg_arg))                                                              \
				PG_RETURN_NULL();                                                                  \
	} while (0)

#endif /* CG_STRICT_H */
