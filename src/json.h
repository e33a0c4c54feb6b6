/*-------------------------------------------------------------------------
 *
 * json.h
 *	  The only JSON writer and reader of rmsync.
 *
 * Writing appends to a StringInfo; reading uses jsonb.  Pure: no SPI.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_JSON_H
#define RMSYNC_JSON_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Appends a JSON string literal; NULL is written as null. */
extern void rmsync_json_string(StringInfo buf, const char *text);
extern void rmsync_json_stringn(StringInfo buf, const char *text, size_t len);

/*
 * Appends  "key": "value"  or  "key": <raw JSON>, with a comma in front
 * unless the last character is '{', '[' or the buffer is empty.
 */
extern void rmsync_json_key(StringInfo buf, const char *key);
extern void rmsync_json_field(StringInfo buf, const char *key,
							  const char *value);
extern void rmsync_json_field_int(StringInfo buf, const char *key, int64 value);
extern void rmsync_json_field_bool(StringInfo buf, const char *key, bool value);
extern void rmsync_json_field_raw(StringInfo buf, const char *key,
								  const char *json);

/*
 * Parses untrusted text (validated as UTF-8 first); NULL if it is not JSON,
 * deeper than 64 levels, or holds what PostgreSQL text cannot (U+0000).
 * Never throws for bad input.  Result in the current context.
 */
extern Jsonb *rmsync_json_parse(const char *text, size_t len);

/*
 * Looks up a path of object keys, NULL-terminated argument list, e.g.
 * rmsync_json_get_string(j, "parent", "type", NULL).  NULL / default if
 * absent or of another type.  Strings are palloc'd.
 */
extern char *rmsync_json_get_string(Jsonb *json, ...);
extern Jsonb *rmsync_json_get(Jsonb *json, ...);
extern bool rmsync_json_get_bool(Jsonb *json, const char *key, bool dflt);
extern double rmsync_json_get_number(Jsonb *json, const char *key, double dflt);

/* Array access: number of elements (-1 if not an array), element i or NULL. */
extern int	rmsync_json_array_length(Jsonb *json);
extern Jsonb *rmsync_json_element(Jsonb *json, int i);
/* As C string if it is a string scalar, else NULL. */
extern char *rmsync_json_as_string(Jsonb *json);
/* Object "base" overlaid with the top-level keys of object "over". */
extern Jsonb *rmsync_json_merge(Jsonb *base, Jsonb *over);
/* Compact text of any jsonb value. */
extern char *rmsync_json_text(Jsonb *json);

#endif							/* RMSYNC_JSON_H */
