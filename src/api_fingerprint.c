/*-------------------------------------------------------------------------
 *
 * api_fingerprint.c
 *	  SQL functions that compute fingerprints.
 *
 * Called by people and by the host application, to compare what it recorded
 * with what rmsync would; by rmsync itself only rmsync.content_hash_page.
 * All are immutable: they must never read a table or a setting.
 *
 * rmsync_fingerprint_page, _todo, _highlight and _notebook are the forms of
 * architecture document 4.2: SHA-256 of json.dumps(data, sort_keys=True),
 * byte for byte.  rmsync_fingerprint_host_* are what the host's fingerprinting
 * code really computes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "fingerprint.h"
#include "json.h"

PG_FUNCTION_INFO_V1(rmsync_fingerprint_page);
PG_FUNCTION_INFO_V1(rmsync_fingerprint_todo);
PG_FUNCTION_INFO_V1(rmsync_fingerprint_highlight);
PG_FUNCTION_INFO_V1(rmsync_fingerprint_notebook);
PG_FUNCTION_INFO_V1(rmsync_fingerprint_host_page);
PG_FUNCTION_INFO_V1(rmsync_fingerprint_host_initial);
PG_FUNCTION_INFO_V1(rmsync_fingerprint_host_todo);
PG_FUNCTION_INFO_V1(rmsync_content_hash_page);
PG_FUNCTION_INFO_V1(rmsync_item_hashes_sql);

/* One element of the notebook form's "pages". */
typedef struct PageEntry
{
	bool has_number;
	int64 number;
	int index;	/* place in the input: sorted() is stable */
	char *text; /* NULL = null */
	bool has_confidence;
	double confidence;
} PageEntry;

/* ---- arguments and results ---- */

/* Text argument as UTF-8, NULL if SQL NULL. */
static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	char *value;

	if (PG_ARGISNULL(n))
		return NULL;
	value = text_to_cstring(PG_GETARG_TEXT_PP(n));
	return pg_server_to_any(value, strlen(value), PG_UTF8);
}

/* SHA-256 of a buffer as text Datum. */
static Datum
hash_result(const char *data, size_t len)
{
	char hash[RMSYNC_HASH_LEN + 1];

	rmsync_sha256_hex(data, len, hash);
	return PointerGetDatum(cstring_to_text(hash));
}

/* ---- Python's json.dumps ---- */

/* Appends a string, stripped if wanted; NULL becomes null. */
static void
dump_string(StringInfo buf, const char *text, bool strip)
{
	size_t len;

	if (text == NULL)
	{
		appendStringInfoString(buf, "null");
		return;
	}
	len = strlen(text);
	if (strip)
		text = rmsync_py_strip(text, &len);
	rmsync_py_json_string(buf, text, len);
}

/*
 * Significant digits of a finite number, the fewest that read back as the
 * same: |value| = 0.DIGITS * 10^point.  Returns how many, 0 for zero.
 *
 * Core's double_to_shortest_decimal_buf is not used: where the shortest text
 * lies exactly between two numbers (1e23) it writes a longer one than Python.
 * This differs from Python for some powers of two below 2^-140, which no
 * confidence is.
 */
static int
shortest_digits(double value, char *digits, int *point)
{
	char text[32];
	int ndigits = 0;

	value = fabs(value);
	*point = 0;
	if (value == 0)
		return 0;
	for (int precision = 0; precision <= 16; precision++)
	{
		snprintf(text, sizeof(text), "%.*e", precision, value);
		if (strtod(text, NULL) == value)
			break;
	}

	/* D.DDDDe+XX; no zeros at the end, as fewer digits would have done */
	for (const char *p = text; *p != 'e'; p++)
	{
		if (*p != '.')
			digits[ndigits++] = *p;
	}
	*point = (int) strtol(strchr(text, 'e') + 1, NULL, 10) + 1;
	return ndigits;
}

/*
 * Appends repr() of a finite float: the shortest digits, with an exponent
 * below 1e-4 and from 1e16 on.  Core switches elsewhere and writes 1.0 as 1.
 */
static void
dump_double(StringInfo buf, double value)
{
	static const char zeros[] = "0000000000000000";
	char digits[17];
	int point;
	int n = shortest_digits(value, digits, &point);

	if (signbit(value))
		appendStringInfoChar(buf, '-');
	if (n == 0)
		appendStringInfoString(buf, "0.0");
	else if (point <= -4 || point > 16)
	{
		appendStringInfoChar(buf, digits[0]);
		if (n > 1)
			appendStringInfo(buf, ".%.*s", n - 1, digits + 1);
		appendStringInfo(buf, "e%c%02d", point > 0 ? '+' : '-', abs(point - 1));
	}
	else if (point <= 0)
		appendStringInfo(buf, "0.%.*s%.*s", -point, zeros, n, digits);
	else if (n <= point)
		appendStringInfo(buf, "%.*s%.*s.0", n, digits, point - n, zeros);
	else
		appendStringInfo(buf, "%.*s.%.*s", point, digits, n - point,
						 digits + point);
}

/* Appends an integer argument, or null. */
static void
dump_int_arg(StringInfo buf, FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		appendStringInfoString(buf, "null");
	else
		appendStringInfo(buf, "%d", PG_GETARG_INT32(n));
}

/*
 * The form pages and to-dos share; keys in order of sort_keys.
 */
static Datum
hash_placed_text(FunctionCallInfo fcinfo, const char *uuid, int number_arg,
				 const char *text, const char *type)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"notebook_uuid\": ");
	dump_string(&buf, uuid, false);
	appendStringInfoString(&buf, ", \"page_number\": ");
	dump_int_arg(&buf, fcinfo, number_arg);
	appendStringInfoString(&buf, ", \"text\": ");
	dump_string(&buf, text, true);
	appendStringInfo(&buf, ", \"type\": \"%s\"}", type);
	return hash_result(buf.data, buf.len);
}

/*
 * rmsync_fingerprint_page(notebook_uuid text, page_number int, ocr_text text)
 *
 * Architecture document 4.2.  No text counts as empty.
 */
Datum
rmsync_fingerprint_page(PG_FUNCTION_ARGS)
{
	char *text = text_arg(fcinfo, 2);

	return hash_placed_text(fcinfo, text_arg(fcinfo, 0), 1, text ? text : "",
							"page_text");
}

/*
 * rmsync_fingerprint_todo(todo_text text, notebook_uuid text, page_number int)
 *
 * Architecture document 4.2.  NULL without a text, where Python would raise.
 */
Datum
rmsync_fingerprint_todo(PG_FUNCTION_ARGS)
{
	char *text = text_arg(fcinfo, 0);

	if (text == NULL)
		PG_RETURN_NULL();
	return hash_placed_text(fcinfo, text_arg(fcinfo, 1), 2, text, "todo");
}

/*
 * rmsync_fingerprint_highlight(original_text text, corrected_text text,
 *								source_file text, page_number int, note text)
 *
 * Architecture document 4.2.  NULL without an original text, where Python
 * would raise.
 */
Datum
rmsync_fingerprint_highlight(PG_FUNCTION_ARGS)
{
	char *original = text_arg(fcinfo, 0);
	char *corrected = text_arg(fcinfo, 1);
	char *note = text_arg(fcinfo, 4);
	StringInfoData buf;

	if (original == NULL)
		PG_RETURN_NULL();

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"corrected_text\": ");
	dump_string(&buf, corrected ? corrected : "", true);
	appendStringInfoString(&buf, ", \"note\": ");
	dump_string(&buf, note ? note : "", true);
	appendStringInfoString(&buf, ", \"original_text\": ");
	dump_string(&buf, original, true);
	appendStringInfoString(&buf, ", \"page_number\": ");
	dump_int_arg(&buf, fcinfo, 3);
	appendStringInfoString(&buf, ", \"source_file\": ");
	dump_string(&buf, text_arg(fcinfo, 2), false);
	appendStringInfoString(&buf, ", \"type\": \"highlight\"}");
	return hash_result(buf.data, buf.len);
}

/* ---- notebooks ---- */

static void
page_error(int i, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("element %d of pages %s", i, what),
					errhint("Pages are a JSON array of objects with the keys "
							"\"number\", \"text\" and \"confidence\".")));
}

/* Number of a key; false if absent or null, an error for any other type. */
static bool
page_number_field(Jsonb *page, int i, const char *key, double *value)
{
	Jsonb *field = rmsync_json_get(page, key, NULL);
	JsonbValue scalar;

	if (field == NULL)
		return false;
	if (!JsonbExtractScalar(&field->root, &scalar) ||
		(scalar.type != jbvNull && scalar.type != jbvNumeric))
		page_error(i, psprintf("has a \"%s\" that is not a number", key));
	if (scalar.type == jbvNull)
		return false;
	*value = rmsync_json_get_number(page, key, NAN);
	if (isnan(*value))
		page_error(i, psprintf("has a \"%s\" that is out of range", key));
	return true;
}

static void
read_page(Jsonb *page, int i, PageEntry *entry)
{
	double number = 0;
	Jsonb *text;
	JsonbValue scalar;

	if (page == NULL || !JB_ROOT_IS_OBJECT(page))
		page_error(i, "is not an object");

	entry->index = i;
	entry->has_number = page_number_field(page, i, "number", &number);
	if (entry->has_number && !(number == rint(number) && fabs(number) < 1e15))
		page_error(i, "has a \"number\" that is not an integer");
	entry->number = entry->has_number ? (int64) number : 0;
	entry->has_confidence =
		page_number_field(page, i, "confidence", &entry->confidence);

	entry->text = NULL;
	text = rmsync_json_get(page, "text", NULL);
	if (text == NULL ||
		(JsonbExtractScalar(&text->root, &scalar) && scalar.type == jbvNull))
		return;
	entry->text = rmsync_json_as_string(text);
	if (entry->text == NULL)
		page_error(i, "has a \"text\" that is not a string");
	entry->text = pg_server_to_any(entry->text, strlen(entry->text), PG_UTF8);
}

/* sorted(pages, key=page_number); Python cannot order null, we put it last. */
static int
compare_pages(const void *a, const void *b)
{
	const PageEntry *pa = (const PageEntry *) a;
	const PageEntry *pb = (const PageEntry *) b;

	if (pa->has_number != pb->has_number)
		return pa->has_number ? -1 : 1;
	if (pa->number != pb->number)
		return pa->number < pb->number ? -1 : 1;
	return pa->index - pb->index;
}

static void
dump_page(StringInfo buf, const PageEntry *entry)
{
	appendStringInfoString(buf, "{\"confidence\": ");
	if (entry->has_confidence)
		dump_double(buf, entry->confidence);
	else
		appendStringInfoString(buf, "null");
	appendStringInfoString(buf, ", \"number\": ");
	if (entry->has_number)
		appendStringInfo(buf, INT64_FORMAT, entry->number);
	else
		appendStringInfoString(buf, "null");
	appendStringInfoString(buf, ", \"text\": ");
	dump_string(buf, entry->text ? entry->text : "", true);
	appendStringInfoChar(buf, '}');
}

/*
 * rmsync_fingerprint_notebook(title text, document_type text, pages jsonb)
 *
 * Architecture document 4.2.  "pages" is an array of {number, text,
 * confidence} in any order; a confidence is a float also where it is written
 * as 1.  NULL without a title or pages, where Python would raise.
 */
Datum
rmsync_fingerprint_notebook(PG_FUNCTION_ARGS)
{
	char *title = text_arg(fcinfo, 0);
	Jsonb *pages;
	PageEntry *entries;
	int npages;
	StringInfoData buf;

	if (title == NULL || PG_ARGISNULL(2))
		PG_RETURN_NULL();

	pages = PG_GETARG_JSONB_P(2);
	npages = rmsync_json_array_length(pages);
	if (npages < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("pages must be a JSON array")));
	entries = palloc((npages + 1) * sizeof(PageEntry));
	for (int i = 0; i < npages; i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_page(rmsync_json_element(pages, i), i, &entries[i]);
	}
	qsort(entries, npages, sizeof(PageEntry), compare_pages);

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"document_type\": ");
	dump_string(&buf, text_arg(fcinfo, 1), false);
	appendStringInfo(&buf, ", \"page_count\": %d, \"pages\": [", npages);
	for (int i = 0; i < npages; i++)
	{
		if (i > 0)
			appendStringInfoString(&buf, ", ");
		dump_page(&buf, &entries[i]);
	}
	appendStringInfoString(&buf, "], \"title\": ");
	dump_string(&buf, title, true);
	appendStringInfoString(&buf, ", \"type\": \"notebook\"}");
	return hash_result(buf.data, buf.len);
}

/* ---- the host's own forms ---- */

/* What an f-string prints for a value. */
static const char *
py_format(const char *text)
{
	return text ? text : "None";
}

/*
 * rmsync_fingerprint_host_page(notebook_uuid text, page_number int,
 *								page_uuid text, ocr_text text)
 *
 * The host's fingerprinting code for pages as its upload handler calls it: no
 * page number counts as 0, no page uuid leaves that part out.  NULL without a
 * text.
 */
Datum
rmsync_fingerprint_host_page(PG_FUNCTION_ARGS)
{
	char *page_uuid = text_arg(fcinfo, 2);
	char *text = text_arg(fcinfo, 3);
	size_t len;
	StringInfoData buf;

	if (text == NULL)
		PG_RETURN_NULL();

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s:%d:", py_format(text_arg(fcinfo, 0)),
					 PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1));
	if (page_uuid != NULL && page_uuid[0] != '\0')
		appendStringInfo(&buf, "%s:", page_uuid);
	text = unconstify(char *, rmsync_py_strip(text, &len));
	appendBinaryStringInfo(&buf, text, (int) len);

	/* The host strips the whole once more: the uuid may start with a space. */
	text = unconstify(char *, rmsync_py_strip(buf.data, &len));
	return hash_result(text, len);
}

/*
 * rmsync_fingerprint_host_initial(ocr_text text)
 *
 * The host's first synchronisation after connecting: the text as it is.
 * Strict.
 */
Datum
rmsync_fingerprint_host_initial(PG_FUNCTION_ARGS)
{
	char *text = text_arg(fcinfo, 0);

	return hash_result(text, strlen(text));
}

/*
 * rmsync_fingerprint_host_todo(todo_text text, notebook_uuid text,
 *								page_number int)
 *
 * The host's to-do hash: nothing is stripped, no page number counts as 0.
 */
Datum
rmsync_fingerprint_host_todo(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "text:%s|notebook:%s|page:%d",
					 py_format(text_arg(fcinfo, 0)),
					 py_format(text_arg(fcinfo, 1)),
					 PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2));
	return hash_result(buf.data, buf.len);
}

/* ---- the ledger's hashes ---- */

/*
 * rmsync.content_hash_page(ocr_text text)
 *
 * The content hash of a page as rmsync_item_hashes computes it; no text
 * counts as empty there, too, so this never returns NULL.
 */
Datum
rmsync_content_hash_page(PG_FUNCTION_ARGS)
{
	const char *text = text_arg(fcinfo, 0);
	size_t len;

	text = rmsync_py_strip(text ? text : "", &len);
	return hash_result(text, len);
}

/* String member as UTF-8, NULL if absent. */
static char *
text_member(Jsonb *json, const char *key)
{
	char *value = rmsync_json_get_string(json, key, NULL);

	return value ? pg_server_to_any(value, strlen(value), PG_UTF8) : NULL;
}

/*
 * rmsync.item_hashes(item_type text, item jsonb,
 *					  OUT content_hash text, OUT placement_hash text)
 *
 * Both ledger hashes of an item given as an object with the field names of
 * RmsyncSource and notebook_uuid.  Strict.
 */
Datum
rmsync_item_hashes_sql(PG_FUNCTION_ARGS)
{
	int type = rmsync_item_type_parse(text_arg(fcinfo, 0));
	Jsonb *json = PG_GETARG_JSONB_P(1);
	RmsyncItem item = { 0 };
	char *opened;
	TupleDesc tupdesc;
	Datum values[2];
	bool nulls[2] = { false, false };

	if (type < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized item type: \"%s\"",
							   text_to_cstring(PG_GETARG_TEXT_PP(0)))));
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	item.type = (RmsyncItemType) type;
	item.notebook_uuid = text_member(json, "notebook_uuid");
	item.src.title = text_member(json, "title");
	item.src.text = text_member(json, "text");
	item.src.original_text = text_member(json, "original_text");
	if (item.type == RMSYNC_HIGHLIGHT && item.src.text == NULL)
	{
		/* as the source view has it, see store_item.c */
		item.src.text = text_member(json, "corrected_text");
		if (item.src.text == NULL || *item.src.text == '\0')
			item.src.text = item.src.original_text;
	}
	item.src.note = text_member(json, "note");
	item.src.path = text_member(json, "path");
	item.src.document_type =
		text_member(json, item.type == RMSYNC_HIGHLIGHT ? "source_type"
														: "document_type");
	item.src.author = text_member(json, "author");
	item.src.page_id = text_member(json, "page_id");
	item.src.page_number = (int) rmsync_json_get_number(json, "page_number", 0);
	item.src.page_count = (int) rmsync_json_get_number(json, "page_count", 0);
	item.src.completed = rmsync_json_get_bool(json, "completed", false);
	opened = rmsync_json_get_string(json, "opened_at", NULL);
	if (opened != NULL)
		item.src.opened_at = DatumGetTimestampTz(
			DirectFunctionCall3(timestamptz_in, CStringGetDatum(opened),
								ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));

	rmsync_item_hashes(&item);
	values[0] = CStringGetTextDatum(item.content_hash);
	values[1] = CStringGetTextDatum(item.placement_hash);
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
