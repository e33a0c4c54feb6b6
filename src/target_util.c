/*-------------------------------------------------------------------------
 *
 * target_util.c
 *	  Configuration reading and time writing, shared by the targets.
 *
 * Called by target_*.c.  Pure: no SPI, no settings, and nothing here throws
 * for what a configuration can contain.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "target_util.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

int
rmsync_config_fields(Jsonb *object, RmsyncConfigField **fields)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	int n = 0;

	*fields = NULL;
	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
		return -1;

	*fields = palloc0(sizeof(RmsyncConfigField) * Max(JB_ROOT_COUNT(object), 1));
	it = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			(*fields)[n].key = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
			(*fields)[n++].value = v;
	}
	return n;
}

char *
rmsync_config_string(const JsonbValue *value)
{
	if (value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

Jsonb *
rmsync_config_container(const JsonbValue *value)
{
	JsonbValue copy = *value;

	if (value->type != jbvBinary)
		return NULL;
	return JsonbValueToJsonb(&copy);
}

bool
rmsync_config_number(const JsonbValue *value, double *result)
{
	char *text;
	char *end;
	bool ok;

	if (value->type != jbvNumeric)
		return false;

	/* strtod instead of numeric_float8: that one throws on overflow */
	text = DatumGetCString(
		DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	*result = strtod(text, &end);
	ok = end != text && *end == '\0' && !isinf(*result) && !isnan(*result);
	pfree(text);
	return ok;
}

const char *
rmsync_config_unknown(const RmsyncConfigField *fields, int nfields,
					  const char *const *known)
{
	for (int i = 0; i < nfields; i++)
	{
		const char *const *name = known;

		while (*name != NULL && strcmp(*name, fields[i].key) != 0)
			name++;
		if (*name == NULL)
			return fields[i].key;
	}
	return NULL;
}

const char *
rmsync_config_url_problem(const char *url)
{
	const char *host;
	size_t authority;

	if (strlen(url) > 2000)
		return "is longer than 2000 bytes";
	if (pg_strncasecmp(url, "https://", 8) == 0)
		host = url + 8;
	else if (pg_strncasecmp(url, "http://", 7) == 0)
		host = url + 7;
	else
		return "must begin with https://";

	for (const char *p = url; *p != '\0'; p++)
	{
		if ((unsigned char) *p <= ' ' || *p == '\x7f' || *p == '\\')
			return "contains a blank, a backslash or a control character";
	}

	authority = strcspn(host, "/?#");
	if (authority == 0 || *host == ':')
		return "has no host";
	if (memchr(host, '@', authority) != NULL)
		return "must not contain a user name";
	if (strchr(host, '#') != NULL)
		return "must not contain a fragment";
	return NULL;
}

void
rmsync_json_time(StringInfo buf, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t fsec;

	/* Without a zone the broken-down time is UTC, which is what we want. */
	if (at == 0 || TIMESTAMP_NOT_FINITE(at) ||
		timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0 || tm.tm_year < 1 ||
		tm.tm_year > 9999)
	{
		appendStringInfoString(buf, "null");
		return;
	}
	appendStringInfo(buf, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", tm.tm_year,
					 tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
					 (int) (fsec / 1000));
}
