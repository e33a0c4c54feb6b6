/*-------------------------------------------------------------------------
 *
 * target_util.h
 *	  What more than one target needs: reading and checking a configuration,
 *	  and writing times.  Used by target_*.c only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TARGET_UTIL_H
#define RMSYNC_TARGET_UTIL_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* One member of a JSON object; nested values stay jbvBinary. */
typedef struct RmsyncConfigField
{
	char	   *key;
	JsonbValue	value;
} RmsyncConfigField;

/*
 * All members of an object.  Returns their number, -1 if "object" is not an
 * object.  The array is palloc'd; values point into "object".
 */
extern int	rmsync_config_fields(Jsonb *object, RmsyncConfigField **fields);

/* The value as C string if it is a string, else NULL; palloc'd. */
extern char *rmsync_config_string(const JsonbValue *value);

/*
 * The value as Jsonb if it is an array or object, else NULL.
 */
extern Jsonb *rmsync_config_container(const JsonbValue *value);

/*
 * Reads a number; false if the value is none or does not fit a double.
 */
extern bool rmsync_config_number(const JsonbValue *value, double *result);

/*
 * First member of "config" that is not in the NULL-terminated list; NULL if
 * all are known.
 */
extern const char *rmsync_config_unknown(const RmsyncConfigField *fields,
										 int nfields,
										 const char *const *known);

/*
 * NULL if "url" is an absolute http or https URL with a host and without user
 * name, fragment, blanks and control characters, else what is wrong with it
 * (constant text, to follow the name of the field).
 */
extern const char *rmsync_config_url_problem(const char *url);

/*
 * Appends a time as JSON string in UTC, "2026-01-02T03:04:05.678Z", or null
 * if it is 0 (unknown) or not a time of the common era.
 */
extern void rmsync_json_time(StringInfo buf, TimestampTz at);

#endif							/* RMSYNC_TARGET_UTIL_H */
