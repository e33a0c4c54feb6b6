/*-------------------------------------------------------------------------
 *
 * intake_spec.c
 *	  What a trigger's arguments say about its table, and rows read by it.
 *
 * Called by intake.c for every statement on a host table, so it must be
 * cheap, and must not fail because a host table was altered.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datum.h"

#include "intake_spec.h"
#include "lookup.h"

static AttrNumber
need_column(RmsyncMarkSpec *spec, TupleDesc desc, const char *name)
{
	AttrNumber attnum = rmsync_lookup_column(desc, name, strlen(name));

	if (attnum == InvalidAttrNumber)
		spec->missing = name;
	return attnum;
}

static void
parse_watch(RmsyncMarkSpec *spec, TupleDesc desc, const char *list)
{
	while (*list != '\0')
	{
		size_t len = strcspn(list, ",");
		AttrNumber attnum = rmsync_lookup_column(desc, list, len);

		if (attnum != InvalidAttrNumber && spec->nwatch < RMSYNC_MAX_WATCH)
			spec->watch[spec->nwatch++] = attnum;
		else if (spec->missing == NULL)
			spec->missing = pnstrdup(list, len);
		list += len;
		if (*list == ',')
			list++;
	}
}

void
rmsync_mark_spec_parse(RmsyncMarkSpec *spec, Trigger *trigger, TupleDesc desc)
{
	memset(spec, 0, sizeof(*spec));
	if (trigger->tgnargs < 1)
		elog(ERROR, "trigger \"%s\" has no arguments", trigger->tgname);
	spec->kind = trigger->tgargs[0][0];
	for (int i = 1; i < trigger->tgnargs; i++)
	{
		const char *arg = trigger->tgargs[i];

		if (strncmp(arg, "watch=", 6) == 0)
			parse_watch(spec, desc, arg + 6);
		else if (strncmp(arg, "key=", 4) == 0)
			spec->key = need_column(spec, desc, arg + 4);
		else if (strncmp(arg, "id=", 3) == 0)
			spec->id = need_column(spec, desc, arg + 3);
		else if (strncmp(arg, "user=", 5) == 0)
			spec->user = need_column(spec, desc, arg + 5);
		else if (strncmp(arg, "uuid=", 5) == 0)
			spec->uuid = need_column(spec, desc, arg + 5);
		else if (strncmp(arg, "notebook=", 9) == 0)
			spec->notebook = need_column(spec, desc, arg + 9);
		else if (strncmp(arg, "lookup=", 7) == 0)
			spec->lookup = arg + 7;
		else
			elog(ERROR, "unrecognized argument \"%s\" of trigger \"%s\"", arg,
				 trigger->tgname);
	}
}

char *
rmsync_mark_column_text(TupleTableSlot *slot, AttrNumber attnum)
{
	bool isnull;
	Datum value;

	if (attnum == InvalidAttrNumber)
		return NULL;
	value = slot_getattr(slot, attnum, &isnull);
	if (isnull)
		return NULL;
	return rmsync_lookup_text(value, TupleDescAttr(slot->tts_tupleDescriptor,
												   attnum - 1)
										 ->atttypid);
}

bool
rmsync_mark_column_int(TupleTableSlot *slot, AttrNumber attnum, int64 *result)
{
	bool isnull;
	Datum value = slot_getattr(slot, attnum, &isnull);
	Oid type = TupleDescAttr(slot->tts_tupleDescriptor, attnum - 1)->atttypid;

	return !isnull && rmsync_lookup_int(value, type, result);
}

/* Does a column differ between two rows? */
static bool
column_differs(TupleTableSlot *old_row, TupleTableSlot *new_row, AttrNumber attnum)
{
	Form_pg_attribute att =
		TupleDescAttr(old_row->tts_tupleDescriptor, attnum - 1);
	bool old_null;
	bool new_null;
	Datum old_value = slot_getattr(old_row, attnum, &old_null);
	Datum new_value = slot_getattr(new_row, attnum, &new_null);

	if (old_null || new_null)
		return old_null != new_null;

	/* An untouched long text keeps its place out of line: do not fetch it. */
	if (att->attlen == -1 &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(old_value)) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(new_value)) &&
		memcmp(DatumGetPointer(old_value), DatumGetPointer(new_value),
			   VARSIZE_EXTERNAL(DatumGetPointer(old_value))) == 0)
		return false;
	return !datum_image_eq(old_value, new_value, att->attbyval, att->attlen);
}

bool
rmsync_mark_spec_moved(RmsyncMarkSpec *spec, TupleTableSlot *old_row,
					   TupleTableSlot *new_row)
{
	AttrNumber columns[] = { spec->key, spec->id, spec->user, spec->notebook,
							 spec->uuid };

	for (int i = 0; i < lengthof(columns); i++)
	{
		if (columns[i] != InvalidAttrNumber &&
			column_differs(old_row, new_row, columns[i]))
			return true;
	}
	return false;
}

bool
rmsync_mark_spec_changed(RmsyncMarkSpec *spec, TupleTableSlot *old_row,
						 TupleTableSlot *new_row)
{
	for (int i = 0; i < spec->nwatch; i++)
	{
		if (column_differs(old_row, new_row, spec->watch[i]))
			return true;
	}
	return false;
}
