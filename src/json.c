/*-------------------------------------------------------------------------
 *
 * json.c
 *	  The only JSON writer and reader of rmsync.
 *
 * Called by everything that builds a request or reads a response.  Writing
 * appends to a StringInfo; reading goes through jsonb.  Pure: no SPI, and the
 * reader must never throw for what a remote side may send.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "compat.h"
#include "json.h"

/* Deepest nesting accepted from outside; services use less than ten. */
#define MAX_DEPTH 64

/*
 * Largest decimal exponent accepted.  numeric would take 1e131071, eight
 * bytes that print as 131072 digits.
 */
#define MAX_EXPONENT 400

/* ---- writing ---- */

/*
 * Appends a JSON string literal of "len" bytes of UTF-8.  NULL becomes null.
 */
void
rmsync_json_stringn(StringInfo buf, const char *text, size_t len)
{
	if (text == NULL)
	{
		appendStringInfoString(buf, "null");
		return;
	}

	appendStringInfoChar(buf, '"');
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		switch (c)
		{
			case '"':
				appendStringInfoString(buf, "\\\"");
				break;
			case '\\':
				appendStringInfoString(buf, "\\\\");
				break;
			case '\n':
				appendStringInfoString(buf, "\\n");
				break;
			case '\r':
				appendStringInfoString(buf, "\\r");
				break;
			case '\t':
				appendStringInfoString(buf, "\\t");
				break;
			default:
				if (c < 0x20)
					appendStringInfo(buf, "\\u%04x", c);
				else
					appendStringInfoCharMacro(buf, (char) c);
		}
	}
	appendStringInfoChar(buf, '"');
}

/*
 * Appends a JSON string literal of NUL-terminated UTF-8.  NULL becomes null.
 */
void
rmsync_json_string(StringInfo buf, const char *text)
{
	rmsync_json_stringn(buf, text, text ? strlen(text) : 0);
}

/*
 * Appends "key": with a comma in front unless this is the first member.
 */
void
rmsync_json_key(StringInfo buf, const char *key)
{
	if (buf->len > 0 && buf->data[buf->len - 1] != '{' &&
		buf->data[buf->len - 1] != '[')
		appendStringInfoString(buf, ", ");
	rmsync_json_string(buf, key);
	appendStringInfoString(buf, ": ");
}

/* Appends a member whose value is a string, or null if "value" is NULL. */
void
rmsync_json_field(StringInfo buf, const char *key, const char *value)
{
	rmsync_json_key(buf, key);
	rmsync_json_string(buf, value);
}

/* Appends a member whose value is an integer. */
void
rmsync_json_field_int(StringInfo buf, const char *key, int64 value)
{
	rmsync_json_key(buf, key);
	appendStringInfo(buf, INT64_FORMAT, value);
}

/* Appends a member whose value is true or false. */
void
rmsync_json_field_bool(StringInfo buf, const char *key, bool value)
{
	rmsync_json_key(buf, key);
	appendStringInfoString(buf, value ? "true" : "false");
}

/* Appends a member whose value is JSON text already; NULL becomes null. */
void
rmsync_json_field_raw(StringInfo buf, const char *key, const char *json)
{
	rmsync_json_key(buf, key);
	appendStringInfoString(buf, json ? json : "null");
}

/* ---- reading ---- */

/*
 * Skips a string literal; "p" is at its opening quote.  Returns what follows
 * the closing quote, or the end of a text that lacks one.
 */
static const char *
skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
	{
		if (*p == '\\')
			p++;
	}
	return p < end ? p + 1 : end;
}

/* Is the number after an 'e' larger than we accept?  "p" is behind the 'e'. */
static bool
exponent_too_large(const char *p, const char *end)
{
	int value = 0;

	if (p < end && (*p == '+' || *p == '-'))
		p++;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
	{
		value = value * 10 + (*p - '0');
		if (value > MAX_EXPONENT)
			return true;
	}
	return false;
}

/*
 * Is the text within the caps?  A scan without recursion, made before the
 * real parser (which recurses) sees the text.  It need not be JSON.
 */
static bool
within_caps(const char *text, size_t len)
{
	const char *end = text + len;
	const char *p = text;
	int depth = 0;

	while (p < end)
	{
		switch (*p)
		{
			case '"':
				p = skip_string(p, end);
				continue;
			case '[':
			case '{':
				if (++depth > MAX_DEPTH)
					return false;
				break;
			case ']':
			case '}':
				depth--;
				break;
			case 'e':
			case 'E':
				if (exponent_too_large(p + 1, end))
					return false;
				break;
		}
		p++;
	}
	return true;
}

/*
 * Errors jsonb_in raises for what the text says: data exceptions, characters
 * the server encoding lacks, limits.  All else (memory, cancel) is ours.
 */
static bool
is_input_error(int sqlerrcode)
{
	int category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) ||
		   category == ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED) ||
		   category == ERRCODE_TO_CATEGORY(ERRCODE_FEATURE_NOT_SUPPORTED);
}

/*
 * Parses untrusted text of "len" bytes, which needs no terminator.
 *
 * Returns NULL if it is not valid UTF-8, not JSON, nested too deeply, holds
 * an absurd number or U+0000.  Result in the current context.  Throws only
 * for lack of memory and for interrupts.
 */
Jsonb *
rmsync_json_parse(const char *text, size_t len)
{
	MemoryContext cxt = CurrentMemoryContext;
	char *copy;
	Jsonb *volatile result = NULL;

	if (text == NULL || len >= MaxAllocSize ||
		!pg_verify_mbstr(PG_UTF8, text, (int) len, true) ||
		!within_caps(text, len))
		return NULL;

	copy = pnstrdup(text, len);
	PG_TRY();
	{
		result =
			DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy)));
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		if (!is_input_error(error->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		FreeErrorData(error);
		result = NULL;
	}
	PG_END_TRY();
	pfree(copy);
	return result;
}

/*
 * Value of one key of an object in *value; false if "json" is NULL, no object
 * or lacks the key.
 */
static bool
find_key(Jsonb *json, const char *key, JsonbValue *value)
{
	JsonbValue name;
	JsonbValue *found;

	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
		return false;
	name.type = jbvString;
	name.val.string.val = unconstify(char *, key);
	name.val.string.len = (int) strlen(key);
	found = findJsonbValueFromContainer(&json->root, JB_FOBJECT, &name);
	if (found == NULL)
		return false;
	*value = *found;
	return true;
}

/* Follows keys up to the terminating NULL; the common part of the getters. */
static Jsonb *
follow_path(Jsonb *json, va_list keys)
{
	const char *key;

	while (json != NULL && (key = va_arg(keys, const char *)) != NULL)
	{
		JsonbValue value;

		json = find_key(json, key, &value) ? JsonbValueToJsonb(&value) : NULL;
	}
	return json;
}

/*
 * The value at a path of keys, NULL if absent.  Allocated in the current
 * context.  "json" may be NULL, so that calls can be nested.
 */
Jsonb *
rmsync_json_get(Jsonb *json, ...)
{
	va_list keys;
	Jsonb *result;

	va_start(keys, json);
	result = follow_path(json, keys);
	va_end(keys);
	return result;
}

/*
 * The string at a path of keys, palloc'd; NULL if absent or not a string.
 */
char *
rmsync_json_get_string(Jsonb *json, ...)
{
	va_list keys;
	Jsonb *found;

	va_start(keys, json);
	found = follow_path(json, keys);
	va_end(keys);
	return rmsync_json_as_string(found);
}

/* The boolean of a key, "dflt" if absent or of another type. */
bool
rmsync_json_get_bool(Jsonb *json, const char *key, bool dflt)
{
	JsonbValue value;

	if (!find_key(json, key, &value) || value.type != jbvBool)
		return dflt;
	return value.val.boolean;
}

/*
 * The number of a key, "dflt" if absent, of another type or beyond a double.
 */
double
rmsync_json_get_number(Jsonb *json, const char *key, double dflt)
{
	JsonbValue value;
	double number;

	if (!find_key(json, key, &value) || value.type != jbvNumeric)
		return dflt;
	number =
		DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
										   NumericGetDatum(value.val.numeric)));
	return isfinite(number) ? number : dflt;
}

/* Number of elements, -1 if "json" is NULL or not an array. */
int
rmsync_json_array_length(Jsonb *json)
{
	if (json == NULL || !JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		return -1;
	return (int) JB_ROOT_COUNT(json);
}

/* Element "i" of an array, palloc'd; NULL if there is none. */
Jsonb *
rmsync_json_element(Jsonb *json, int i)
{
	JsonbValue *value;

	if (i < 0 || i >= rmsync_json_array_length(json))
		return NULL;
	value = getIthJsonbValueFromContainer(&json->root, (uint32) i);
	return value ? JsonbValueToJsonb(value) : NULL;
}

/* A string scalar as palloc'd C string; NULL for anything else. */
char *
rmsync_json_as_string(Jsonb *json)
{
	JsonbValue value;

	if (json == NULL || !JsonbExtractScalar(&json->root, &value) ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* The value as palloc'd text, the way jsonb prints; NULL stays NULL. */
char *
rmsync_json_text(Jsonb *json)
{
	if (json == NULL)
		return NULL;
	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

/*
 * Object "base" overlaid with the top-level keys of object "over"; both must
 * be objects.  Result in the current context.
 */
Jsonb *
rmsync_json_merge(Jsonb *base, Jsonb *over)
{
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(base),
											  JsonbPGetDatum(over)));
}
