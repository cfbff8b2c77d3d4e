/*
 * inquiry.c
 *		For whom, where and when prices are asked: arguments, and what follows
 *		from them.
 *
 * The rows of the customer and its memberships are looked up by their primary
 * keys; settings, stores and groups come from the cache of definitions.  All
 * memory is the caller's, in the context that is current at the beginning.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "pricing/pricing_internal.h"
#include "sales/sales.h"

void
cg_unknown(const char *what, int64 id)
{
	ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("unknown %s", what),
					errdetail("There is no %s with id " INT64_FORMAT ".", what, id),
					errhint("Insert it first, or ask with the id of an existing one.")));
}

void
cg_null_argument(const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
					errhint("Leave the argument out to get its default.")));
}

/*
 * Reads a numeric argument that is only compared with limits of promotions;
 * raises 22023 when it is no number, or not above the least.  What is finer or
 * larger than any limit is cut down, which changes no comparison.
 */
static CgDecimal
decimal_argument(Datum datum, const char *name, bool zero_allowed)
{
	Numeric   number = DatumGetNumeric(datum);
	CgDecimal value = 0;
	bool      valid = !numeric_is_nan(number) && !numeric_is_inf(number);

	if (valid && !cg_decimal_from_numeric(datum, &value))
	{
		Datum cut = DirectFunctionCall2(numeric_trunc, datum, Int32GetDatum(CG_DECIMAL_SCALE));

		if (!cg_decimal_from_numeric(cut, &value))
		{
			valid = DatumGetBool(
				DirectFunctionCall2(numeric_gt, datum, NumericGetDatum(int64_to_numeric(0))));
			value = CG_DECIMAL_LIMIT;
		}
		else if (value == 0)
			valid = DatumGetBool(
				DirectFunctionCall2(numeric_gt, datum, NumericGetDatum(int64_to_numeric(0))));
	}
	else if (valid)
		valid = value > 0 || zero_allowed;
	if (!valid)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid %s", name),
						errdetail("The %s is %s.", name,
								  DatumGetCString(DirectFunctionCall1(numeric_out, datum))),
						errhint("Give a finite number %s 0.", zero_allowed ? "from" : "above")));
	return value;
}

/* Reads the customer, an anonymous one when null; by_key: an external_id. */
void
cg_read_customer_argument(FunctionCallInfo fcinfo, int argno, bool by_key, CgInquiry *inquiry)
{
	inquiry->has_customer = !PG_ARGISNULL(argno);
	inquiry->customer_id = 0;
	if (inquiry->has_customer)
		inquiry->customer_id = by_key ? cg_customer_by_key(PG_GETARG_TEXT_PP(argno),
														   GetActiveSnapshot())
									  : PG_GETARG_INT64(argno);
}

void
cg_read_store_argument(FunctionCallInfo fcinfo, int argno, CgInquiry *inquiry)
{
	inquiry->has_store = !PG_ARGISNULL(argno);
	inquiry->store_id = inquiry->has_store ? PG_GETARG_INT32(argno) : 0;
}

/*
 * Reads the arguments (customer, item, store, quantity, order value, at) of a
 * caller who may view; false when the item is null.
 */
bool
cg_read_question(FunctionCallInfo fcinfo, bool by_key, CgInquiry *inquiry, CgQuestion *question)
{
	cg_check_view();
	inquiry->keeps_memberships = false;
	if (PG_ARGISNULL(1))
		return false;
	cg_read_customer_argument(fcinfo, 0, by_key, inquiry);
	question->item_id = by_key ? cg_item_by_key(PG_GETARG_TEXT_PP(1), GetActiveSnapshot())
							   : PG_GETARG_INT64(1);
	cg_read_store_argument(fcinfo, 2, inquiry);
	if (PG_ARGISNULL(3))
		cg_null_argument("quantity");
	question->quantity = decimal_argument(PG_GETARG_DATUM(3), "quantity", false);
	question->has_order_value = !PG_ARGISNULL(4);
	question->order_value = question->has_order_value
								? decimal_argument(PG_GETARG_DATUM(4), "order value", true)
								: 0;
	inquiry->at = cg_time_argument(fcinfo, 5);
	return true;
}

static void
add_group(CgInquiry *inquiry, int32 group_id)
{
	if (inquiry->ngroups == inquiry->max_groups)
	{
		inquiry->max_groups = Max(2 * inquiry->max_groups, 16);
		inquiry->groups = inquiry->groups == NULL
							  ? palloc(inquiry->max_groups * sizeof(int32))
							  : repalloc(inquiry->groups, inquiry->max_groups * sizeof(int32));
	}
	inquiry->groups[inquiry->ngroups++] = group_id;
}

static void
keep_membership(CgInquiry *inquiry, int32 group_id, CgMembershipState state)
{
	int n = inquiry->nmemberships++;

	if (n == 0)
		inquiry->memberships = palloc(sizeof(CgMembership));
	else
		inquiry->memberships = repalloc(inquiry->memberships, (n + 1) * sizeof(CgMembership));
	inquiry->memberships[n].group_id = group_id;
	inquiry->memberships[n].state = state;
}

/* What the present row of members is worth; the first that holds. */
static CgMembershipState
membership_state(CgScan *scan, const CgInquiry *inquiry, int32 group_id)
{
	bool           isnull;
	Datum          datum;
	const CgGroup *group;

	datum = cg_scan_get(scan, CG_MEMBERS_VALID_FROM, &isnull);
	if (!isnull && DatumGetDateADT(datum) > inquiry->day)
		return CG_MEMBERSHIP_NOT_STARTED;
	datum = cg_scan_get(scan, CG_MEMBERS_VALID_UNTIL, &isnull);
	if (!isnull && DatumGetDateADT(datum) < inquiry->day)
		return CG_MEMBERSHIP_EXPIRED;
	group = cg_find_group(group_id);
	if (group == NULL || inquiry->day < group->starts_on || inquiry->day > group->ends_on)
		return CG_GROUP_NOT_IN_DATES;
	if (!cg_group_counts(group, inquiry->has_store ? &inquiry->store_id : NULL, inquiry->day))
		return CG_GROUP_PRICING_OFF;
	return CG_MEMBERSHIP_COUNTS;
}

/*
 * Collects the groups that count for prices, and checks that the customer
 * exists: a membership tells, by its foreign key.
 */
static void
read_customer(CgInquiry *inquiry)
{
	CgScan scan;
	bool   known = false;

	/* The primary key gives them ascending by group. */
	cg_scan_begin(&scan, CG_MEMBERS, inquiry->snapshot, 1, Int64GetDatum(inquiry->customer_id), 0);
	while (cg_scan_next(&scan))
	{
		bool  isnull;
		int32 group_id = DatumGetInt32(cg_scan_get(&scan, CG_MEMBERS_GROUP_ID, &isnull));
		CgMembershipState state = membership_state(&scan, inquiry, group_id);

		known = true;
		if (state == CG_MEMBERSHIP_COUNTS)
			add_group(inquiry, group_id);
		if (inquiry->keeps_memberships)
			keep_membership(inquiry, group_id, state);
	}
	cg_scan_end(&scan);
	if (!known && !cg_customer_exists(inquiry->customer_id, inquiry->snapshot))
		cg_unknown("customer", inquiry->customer_id);
}

/*
 * Finds out what follows from what is asked, under the active snapshot; the
 * caller may view.  Raises 02000 for an unknown customer or store.
 */
void
cg_inquiry_begin(CgInquiry *inquiry)
{
	const CgDefinitions *definitions;
	pg_tz               *timezone;

	inquiry->snapshot = GetActiveSnapshot();
	definitions = cg_definitions(inquiry->snapshot);
	strcpy(inquiry->settings_currency, definitions->settings.currency);
	strcpy(inquiry->currency, definitions->settings.currency);
	inquiry->rounding = definitions->settings.rounding;
	timezone = definitions->settings.timezone;
	if (inquiry->has_store)
	{
		const CgStore *store = cg_find_store(inquiry->store_id);

		if (store == NULL)
			cg_unknown("store", inquiry->store_id);
		strcpy(inquiry->currency, store->currency);
		inquiry->rounding = store->rounding;
		timezone = store->timezone;
	}
	inquiry->day = cg_day_of(inquiry->at, timezone);
	inquiry->ngroups = inquiry->max_groups = inquiry->nmemberships = 0;
	inquiry->groups = NULL;
	inquiry->memberships = NULL;
	inquiry->segments = NULL;
	if (inquiry->has_customer)
		read_customer(inquiry);
	cg_promotions(inquiry->snapshot);
}

void
cg_inquiry_end(CgInquiry *inquiry)
{
	if (inquiry->segments != NULL)
		cg_evaluation_end(inquiry->segments);
	inquiry->segments = NULL;
}
