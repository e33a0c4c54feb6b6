/*-------------------------------------------------------------------------
 *
 * fingerprint.c
 *	  SHA-256, Python's strip() and json.dumps(), and the ledger's hashes.
 *
 * Called by the stores (hashes of items), by targets (signatures, derived
 * ids), by the encryption of credentials and by the SQL functions in
 * api_fingerprint.c.  Pure: it works outside a transaction, too, and must
 * never touch the database.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "fingerprint.h"
#include "json.h"

/* ---- digests ---- */

/*
 * Built with OpenSSL, core's digest contexts register with the current
 * resource owner and crash without one.  Outside a transaction there is none,
 * so a process-wide owner stands in.  Returns what leave_owner puts back.
 */
static ResourceOwner
enter_owner(void)
{
	static ResourceOwner stand_in = NULL;
	ResourceOwner saved = CurrentResourceOwner;

	if (saved == NULL)
	{
		if (stand_in == NULL)
			stand_in = ResourceOwnerCreate(NULL, "rmsync digests");
		CurrentResourceOwner = stand_in;
	}
	return saved;
}

static void
leave_owner(ResourceOwner saved)
{
	CurrentResourceOwner = saved;
}

/*
 * SHA-256 of "len" bytes into out[32].  Raises an internal error if the
 * crypto library refuses.
 */
void
rmsync_sha256(const void *data, size_t len, uint8 *out)
{
	ResourceOwner saved = enter_owner();
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	bool ok;

	ok = ctx != NULL && pg_cryptohash_init(ctx) >= 0 &&
		 pg_cryptohash_update(ctx, data, len) >= 0 &&
		 pg_cryptohash_final(ctx, out, PG_SHA256_DIGEST_LENGTH) >= 0;
	pg_cryptohash_free(ctx);
	leave_owner(saved);
	if (!ok)
		elog(ERROR, "could not compute SHA-256");
}

/* SHA-256 of "len" bytes as lower-case hex with a terminating NUL. */
void
rmsync_sha256_hex(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	uint8 digest[PG_SHA256_DIGEST_LENGTH];

	rmsync_sha256(data, len, digest);
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
	{
		out[2 * i] = digits[digest[i] >> 4];
		out[2 * i + 1] = digits[digest[i] & 0x0f];
	}
	out[RMSYNC_HASH_LEN] = '\0';
}

/*
 * HMAC-SHA256 of "len" bytes into out[32].  Raises an internal error if the
 * crypto library refuses; the key is never part of it.
 */
void
rmsync_hmac_sha256(const void *key, size_t key_len, const void *data,
				   size_t len, uint8 *out)
{
	ResourceOwner saved = enter_owner();
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);
	bool ok;

	ok = ctx != NULL && pg_hmac_init(ctx, key, key_len) >= 0 &&
		 pg_hmac_update(ctx, data, len) >= 0 &&
		 pg_hmac_final(ctx, out, PG_SHA256_DIGEST_LENGTH) >= 0;
	pg_hmac_free(ctx);
	leave_owner(saved);
	if (!ok)
		elog(ERROR, "could not compute HMAC-SHA-256");
}

/* ---- what Python does to text ---- */

/* White space as str.strip() sees it: the 29 code points of str.isspace(). */
static bool
is_py_space(pg_wchar c)
{
	return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 ||
		   c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
		   c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
		   c == 0x3000;
}

/*
 * Code point at "p", its length in *size.  A sequence that the rest of the
 * text cuts off counts as one unprintable byte, so nothing is read past "end".
 */
static pg_wchar
code_point(const char *p, const char *end, int *size)
{
	*size = pg_utf_mblen((const unsigned char *) p);
	if (*size > end - p)
	{
		*size = 1;
		return 0xFFFD;
	}
	return utf8_to_unicode((const unsigned char *) p);
}

/*
 * Python's str.strip() without a copy.
 *
 * Returns where the stripped text starts and sets *len to its bytes; points
 * into "text", which must be valid UTF-8.  C's isspace, regular expressions
 * and btrim() all have other sets.
 */
const char *
rmsync_py_strip(const char *text, size_t *len)
{
	const char *start = text;
	const char *end = text + strlen(text);
	int size;

	while (start < end && is_py_space(code_point(start, end, &size)))
		start += size;
	while (end > start)
	{
		const char *last = end - 1;

		while (last > start && ((unsigned char) *last & 0xC0) == 0x80)
			last--;
		if (!is_py_space(code_point(last, end, &size)))
			break;
		end = last;
	}
	*len = end - start;
	return start;
}

/* Appends one code point from 0x80, 0x7F or a control as \uXXXX. */
static void
append_escape(StringInfo buf, pg_wchar c)
{
	if (c >= 0x10000)
	{
		c -= 0x10000;
		appendStringInfo(buf, "\\u%04x\\u%04x", 0xD800 + (c >> 10),
						 0xDC00 + (c & 0x3FF));
	}
	else
		appendStringInfo(buf, "\\u%04x", c);
}

/*
 * Appends "len" bytes of valid UTF-8 the way json.dumps() with its defaults
 * (ensure_ascii) writes a string, quotes included.
 */
void
rmsync_py_json_string(StringInfo buf, const char *text, size_t len)
{
	static const char escaped[] = "\"\\\n\r\t\b\f";
	static const char letters[] = "\"\\nrtbf";
	const char *end = text + len;
	int size;

	appendStringInfoChar(buf, '"');
	for (const char *p = text; p < end; p += size)
	{
		pg_wchar c = code_point(p, end, &size);
		const char *special = c > 0 && c < 0x80 ? strchr(escaped, (int) c) : NULL;

		if (special != NULL)
		{
			appendStringInfoChar(buf, '\\');
			appendStringInfoChar(buf, letters[special - escaped]);
		}
		else if (c < 0x20 || c >= 0x7F)
			append_escape(buf, c);
		else
			appendStringInfoChar(buf, (char) c);
	}
	appendStringInfoChar(buf, '"');
}

/* ---- the ledger's hashes ---- */

/* Minutes since 2000 for a time, as notebooks show "last opened". */
static int64
minute_of(TimestampTz at)
{
	return at / USECS_PER_MINUTE;
}

/*
 * Writes what the reader of a notebook's, to-do's or highlight's object sees
 * as a JSON array: fields cannot run into each other.
 */
static void
write_content(StringInfo buf, const RmsyncItem *item)
{
	const RmsyncSource *src = &item->src;
	const char *texts[5];
	int ntexts = 0;

	switch (item->type)
	{
		case RMSYNC_NOTEBOOK:
			texts[ntexts++] = src->title;
			texts[ntexts++] = src->path;
			texts[ntexts++] = src->document_type;
			texts[ntexts++] = src->author;
			break;
		case RMSYNC_HIGHLIGHT:
			texts[ntexts++] = src->original_text;
			texts[ntexts++] = src->text;
			texts[ntexts++] = src->note;
			texts[ntexts++] = src->author;
			texts[ntexts++] = src->document_type;
			break;
		default:
			texts[ntexts++] = src->text;
			break;
	}

	appendStringInfo(buf, "[\"%s\"", rmsync_item_type_name(item->type));
	for (int i = 0; i < ntexts; i++)
	{
		appendStringInfoChar(buf, ',');
		rmsync_json_string(buf, texts[i]);
	}
	if (item->type == RMSYNC_NOTEBOOK)
		appendStringInfo(buf, ",%d," INT64_FORMAT, src->page_count,
						 minute_of(src->opened_at));
	else if (item->type == RMSYNC_TODO)
		appendStringInfoString(buf, src->completed ? ",true" : ",false");
	appendStringInfoChar(buf, ']');
}

/* Writes where the item stands.  A notebook stands nowhere in particular. */
static void
write_placement(StringInfo buf, const RmsyncItem *item)
{
	if (item->type == RMSYNC_NOTEBOOK)
	{
		appendStringInfoString(buf, "notebook");
		return;
	}
	appendStringInfoChar(buf, '[');
	rmsync_json_string(buf, item->notebook_uuid);
	appendStringInfo(buf, ",%d", item->src.page_number);
	if (item->type != RMSYNC_PAGE)
	{
		appendStringInfoChar(buf, ',');
		rmsync_json_string(buf, item->src.page_id);
	}
	appendStringInfoChar(buf, ']');
}

/*
 * Fills the wanted content and placement hash of an item from its source.
 *
 * Content: page = SHA-256 of the stripped text (so that it can be compared
 * with what the host recorded), others = all that is shown.  A notebook's
 * last opening counts by the minute and its last change not at all: every
 * contact of the device touches that.  Placement: notebook and page, so that
 * a page inserted in front moves the others instead of rewriting them.
 */
void
rmsync_item_hashes(RmsyncItem *item)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (item->type == RMSYNC_PAGE)
	{
		size_t len;
		const char *text =
			rmsync_py_strip(item->src.text ? item->src.text : "", &len);

		rmsync_sha256_hex(text, len, item->content_hash);
	}
	else
	{
		write_content(&buf, item);
		rmsync_sha256_hex(buf.data, buf.len, item->content_hash);
		resetStringInfo(&buf);
	}
	write_placement(&buf, item);
	rmsync_sha256_hex(buf.data, buf.len, item->placement_hash);
	pfree(buf.data);
}
