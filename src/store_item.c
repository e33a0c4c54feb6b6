/*-------------------------------------------------------------------------
 *
 * store_item.c
 *	  Reads items: the source views and the ledger.
 *
 * Called by the engine inside its short transactions, right before a job is
 * planned: what is sent is what the source says at that moment.  Never writes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fingerprint.h"
#include "json.h"
#include "store.h"

/* Texts as a text[] parameter. */
static Datum
text_array(Datum *texts, int n)
{
	return PointerGetDatum(
		construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The ids of items of one type among "items", as a text[] parameter. */
static int
collect(RmsyncItem **items, int nitems, RmsyncItemType type, Datum *ids)
{
	Datum *id = palloc(sizeof(Datum) * nitems);
	int n = 0;

	for (int i = 0; i < nitems; i++)
	{
		if (items[i]->type == type)
			id[n++] = CStringGetTextDatum(items[i]->id);
	}
	if (n > 0)
		*ids = text_array(id, n);
	return n;
}

/*
 * The ids as keys of a jsonb object, which is quicker to look into than an
 * array: the condition is tried on every row of their notebooks.
 */
static int
collect_set(RmsyncItem **items, int nitems, RmsyncItemType type, Datum *set)
{
	StringInfoData buf;
	int n = 0;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (int i = 0; i < nitems; i++)
	{
		if (items[i]->type != type)
			continue;
		rmsync_json_field_int(&buf, items[i]->id, 1);
		n++;
	}
	appendStringInfoChar(&buf, '}');
	if (n > 0)
		*set = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	return n;
}

/* The notebooks of items of one type; neighbours are mostly of the same. */
static Datum
collect_notebooks(RmsyncItem **items, int nitems, RmsyncItemType type)
{
	Datum *uuid = palloc(sizeof(Datum) * nitems);
	const char *last = NULL;
	int n = 0;

	for (int i = 0; i < nitems; i++)
	{
		const char *notebook = items[i]->notebook_uuid;

		if (items[i]->type != type || notebook == NULL ||
			(last != NULL && strcmp(last, notebook) == 0))
			continue;
		uuid[n++] = CStringGetTextDatum(notebook);
		last = notebook;
	}
	return text_array(uuid, n);
}

/*
 * The item a result row belongs to.  Results come in any order; items of a
 * batch are few, so a scan from a moving start is enough.
 */
static RmsyncItem *
find_item(RmsyncItem **items, int nitems, RmsyncItemType type, const char *id)
{
	static int start = 0;

	for (int k = 0; k < nitems; k++)
	{
		int i = (start + k) % nitems;

		if (items[i]->type == type && strcmp(items[i]->id, id) == 0)
		{
			start = (i + 1) % nitems;
			return items[i];
		}
	}
	return NULL;
}

/* Where an item's strings go: "cxt", or the item's own context. */
#define ITEM_CXT(cxt, item) \
	((cxt) != NULL ? (cxt) : GetMemoryChunkContext(item))

static TimestampTz
spi_time(uint64 row, int col)
{
	return (TimestampTz) rmsync_spi_int64(row, col, 0);
}

static void
load_pages(MemoryContext cxt, int64 user_id, RmsyncItem **items, int nitems)
{
	/* Better rows last: a later row replaces an earlier one. */
	static RmsyncPlan plan = {
		"SELECT p.item_id, p.page_number, p.text, p.ready, p.confidence,"
		" p.modified_at, n.title, n.path"
		" FROM rmsync.source_page p"
		" LEFT JOIN rmsync.source_notebook n"
		" ON n.user_id = $1 AND n.item_id = p.notebook_uuid"
		" AND n.item_id = ANY ($3)"
		" WHERE p.user_id = $1 AND p.live AND p.notebook_uuid = ANY ($3)"
		" AND pg_catalog.jsonb_exists($2, p.item_id)"
		" ORDER BY p.ready, p.row_id",
		3,
		{ INT8OID, JSONBOID, TEXTARRAYOID }
	};
	Datum values[3];
	uint64 n;

	if (collect_set(items, nitems, RMSYNC_PAGE, &values[1]) == 0)
		return;
	values[2] = collect_notebooks(items, nitems, RMSYNC_PAGE);
	values[0] = Int64GetDatum(user_id);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		RmsyncItem *item = find_item(items, nitems, RMSYNC_PAGE,
									 rmsync_spi_text(CurrentMemoryContext, i, 1));
		bool isnull;

		if (item == NULL)
			continue;
		item->present = true;
		item->src.page_number = rmsync_spi_int(i, 2, 0);
		item->src.text = rmsync_spi_text(ITEM_CXT(cxt, item), i, 3);
		item->ready = rmsync_spi_bool(i, 4) && item->src.text != NULL;
		item->src.confidence = rmsync_spi_float(i, 5, &isnull);
		item->src.has_confidence = !isnull;
		item->src.modified_at = spi_time(i, 6);
		item->src.title = rmsync_spi_text(ITEM_CXT(cxt, item), i, 7);
		item->src.path = rmsync_spi_text(ITEM_CXT(cxt, item), i, 8);
	}
}

static void
load_todos(MemoryContext cxt, int64 user_id, RmsyncItem **items, int nitems)
{
	static RmsyncPlan plan = {
		"SELECT t.item_id, t.page_number, t.title, t.text, t.completed,"
		" t.confidence, t.modified_at, t.page_id, t.notebook_uuid,"
		" t.written_at, n.title, p.metadata_json ->> 'notion_page_id',"
		" p.external_id"
		" FROM rmsync.source_todo t"
		" LEFT JOIN rmsync.source_notebook n"
		" ON n.user_id = $1 AND n.item_id = t.notebook_uuid AND n.live"
		" LEFT JOIN rmsync.sync_records p ON p.user_id = $1"
		" AND p.target_name = 'notion' AND p.item_type = 'page_text'"
		" AND p.item_id = t.page_id"
		" WHERE t.user_id = $1 AND t.live"
		" AND pg_catalog.jsonb_exists($2, t.item_id)"
		" AND t.notebook_uuid = ANY ($3)"
		" ORDER BY t.row_id",
		3,
		{ INT8OID, JSONBOID, TEXTARRAYOID }
	};
	Datum values[3];
	uint64 n;

	if (collect_set(items, nitems, RMSYNC_TODO, &values[1]) == 0)
		return;
	values[2] = collect_notebooks(items, nitems, RMSYNC_TODO);
	values[0] = Int64GetDatum(user_id);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		RmsyncItem *item = find_item(items, nitems, RMSYNC_TODO,
									 rmsync_spi_text(CurrentMemoryContext, i, 1));
		bool isnull;

		if (item == NULL)
			continue;
		item->present = true;
		item->src.page_number = rmsync_spi_int(i, 2, 0);
		item->src.title = rmsync_spi_text(ITEM_CXT(cxt, item), i, 3);
		item->src.text = rmsync_spi_text(ITEM_CXT(cxt, item), i, 4);
		item->ready = item->src.text != NULL;
		item->src.completed = rmsync_spi_bool(i, 5);
		item->src.confidence = rmsync_spi_float(i, 6, &isnull);
		item->src.has_confidence = !isnull;
		item->src.modified_at = spi_time(i, 7);
		item->src.page_id = rmsync_spi_text(ITEM_CXT(cxt, item), i, 8);
		item->notebook_uuid = rmsync_spi_text(ITEM_CXT(cxt, item), i, 9);
		item->src.written_at = spi_time(i, 10);
		item->src.notebook_title = rmsync_spi_text(ITEM_CXT(cxt, item), i, 11);
		item->src.link_page = rmsync_spi_text(ITEM_CXT(cxt, item), i, 12);
		item->src.link_block = rmsync_spi_text(ITEM_CXT(cxt, item), i, 13);
	}
}

/*
 * To-dos that have no row yet, and others that say the same: what is found at
 * Notion must not be taken for two.  Objects whose ledger entry has an intent
 * may say anything.
 */
static void
load_twins(MemoryContext cxt, const RmsyncLaneInfo *lane, RmsyncItem **items,
		   int nitems)
{
	static RmsyncPlan plan = {
		"WITH t AS MATERIALIZED ("
		"SELECT s.item_id, s.notebook_uuid, s.text, s.row_id,"
		" pg_catalog.jsonb_exists($3, s.item_id) AS wanted"
		" FROM rmsync.source_todo s"
		" WHERE s.user_id = $1 AND s.live AND s.notebook_uuid = ANY ($4)),"
		" taken AS ("
		"SELECT w.item_id, r.external_id, r.external_id IS NULL"
		" AND o.row_id < w.row_id AND EXISTS (SELECT FROM rmsync.sync_queue q"
		"  WHERE q.lane_id = $2 AND q.item_type = 'todo'"
		"  AND q.item_id = o.item_id AND q.status = 'pending') AS before"
		" FROM t w JOIN t o ON o.notebook_uuid = w.notebook_uuid"
		" AND o.text = w.text AND o.item_id <> w.item_id"
		" LEFT JOIN rmsync.sync_records r ON r.user_id = $1"
		" AND r.target_name = $5 AND r.item_type = 'todo'"
		" AND r.item_id = o.item_id WHERE w.wanted"
		" UNION ALL"
		" SELECT w.item_id, r.external_id, false"
		" FROM t w JOIN rmsync.sync_records r ON r.lane_id = $2"
		" AND r.notebook_uuid = w.notebook_uuid AND r.item_type = 'todo'"
		" AND r.item_id <> w.item_id AND r.intent IS NOT NULL"
		" WHERE w.wanted)"
		" SELECT k.item_id, pg_catalog.string_agg(k.external_id, ' '),"
		" pg_catalog.bool_or(k.before) FROM taken k GROUP BY k.item_id",
		5,
		{ INT8OID, INT8OID, JSONBOID, TEXTARRAYOID, TEXTOID }
	};
	RmsyncItem **new = palloc(sizeof(RmsyncItem *) * Max(nitems, 1));
	Datum values[5];
	int nnew = 0;
	uint64 n;

	for (int i = 0; i < nitems; i++)
	{
		if (items[i]->type == RMSYNC_TODO && items[i]->present &&
			items[i]->ledger.external_id == NULL)
			new[nnew++] = items[i];
	}
	if (strcmp(lane->target_name, "notion-todos") != 0 ||
		collect_set(new, nnew, RMSYNC_TODO, &values[2]) == 0)
		return;
	values[0] = Int64GetDatum(lane->user_id);
	values[1] = Int64GetDatum(lane->lane_id);
	values[3] = collect_notebooks(new, nnew, RMSYNC_TODO);
	values[4] = CStringGetTextDatum(lane->target_name);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		RmsyncItem *item = find_item(new, nnew, RMSYNC_TODO,
									 rmsync_spi_text(CurrentMemoryContext, i, 1));

		if (item == NULL)
			continue;
		item->src.taken = rmsync_spi_text(ITEM_CXT(cxt, item), i, 2);
		item->src.follows = rmsync_spi_bool(i, 3);
	}
}

static void
load_highlights(MemoryContext cxt, int64 user_id, RmsyncItem **items, int nitems)
{
	static RmsyncPlan plan = {
		"SELECT h.item_id, h.page_number, h.original_text, h.corrected_text,"
		" h.note, h.page_id, h.notebook_uuid, h.source_title, h.author,"
		" h.source_type, h.confidence, h.modified_at, h.highlighted_at"
		" FROM rmsync.source_highlight h"
		" WHERE h.user_id = $1 AND h.live"
		" AND pg_catalog.jsonb_exists($2, h.item_id)"
		" AND h.notebook_uuid = ANY ($3)"
		" ORDER BY h.row_id",
		3,
		{ INT8OID, JSONBOID, TEXTARRAYOID }
	};
	Datum values[3];
	uint64 n;

	if (collect_set(items, nitems, RMSYNC_HIGHLIGHT, &values[1]) == 0)
		return;
	values[2] = collect_notebooks(items, nitems, RMSYNC_HIGHLIGHT);
	values[0] = Int64GetDatum(user_id);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		RmsyncItem *item = find_item(items, nitems, RMSYNC_HIGHLIGHT,
									 rmsync_spi_text(CurrentMemoryContext, i, 1));
		char *corrected;
		bool isnull;

		if (item == NULL)
			continue;
		item->present = true;
		item->src.page_number = rmsync_spi_int(i, 2, 0);
		item->src.original_text = rmsync_spi_text(ITEM_CXT(cxt, item), i, 3);
		corrected = rmsync_spi_text(ITEM_CXT(cxt, item), i, 4);
		item->src.text =
			corrected && corrected[0] ? corrected : item->src.original_text;
		item->ready = item->src.text != NULL;
		item->src.note = rmsync_spi_text(ITEM_CXT(cxt, item), i, 5);
		item->src.page_id = rmsync_spi_text(ITEM_CXT(cxt, item), i, 6);
		item->notebook_uuid = rmsync_spi_text(ITEM_CXT(cxt, item), i, 7);
		item->src.title = rmsync_spi_text(ITEM_CXT(cxt, item), i, 8);
		item->src.author = rmsync_spi_text(ITEM_CXT(cxt, item), i, 9);
		item->src.document_type = rmsync_spi_text(ITEM_CXT(cxt, item), i, 10);
		item->src.confidence = rmsync_spi_float(i, 11, &isnull);
		item->src.has_confidence = !isnull;
		item->src.modified_at = spi_time(i, 12);
		item->src.written_at = spi_time(i, 13);
	}
}

static void
load_notebooks(MemoryContext cxt, int64 user_id, RmsyncItem **items, int nitems)
{
	static RmsyncPlan plan = {
		"SELECT n.item_id, n.title, n.path, n.document_type, n.author,"
		" n.opened_at, n.modified_at,"
		" (SELECT pg_catalog.count(DISTINCT p.item_id)::int"
		"  FROM rmsync.source_page p WHERE p.user_id = $1"
		"  AND p.notebook_uuid = n.item_id AND p.live)"
		" FROM rmsync.source_notebook n"
		" WHERE n.user_id = $1 AND n.live AND n.item_id = ANY ($2)"
		" ORDER BY n.row_id",
		2,
		{ INT8OID, TEXTARRAYOID }
	};
	Datum values[3];
	uint64 n;

	if (collect(items, nitems, RMSYNC_NOTEBOOK, &values[1]) == 0)
		return;
	values[0] = Int64GetDatum(user_id);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		RmsyncItem *item = find_item(items, nitems, RMSYNC_NOTEBOOK,
									 rmsync_spi_text(CurrentMemoryContext, i, 1));

		if (item == NULL)
			continue;
		item->present = true;
		item->ready = true;
		item->src.title = rmsync_spi_text(ITEM_CXT(cxt, item), i, 2);
		item->src.path = rmsync_spi_text(ITEM_CXT(cxt, item), i, 3);
		item->src.document_type = rmsync_spi_text(ITEM_CXT(cxt, item), i, 4);
		item->src.author = rmsync_spi_text(ITEM_CXT(cxt, item), i, 5);
		item->src.opened_at = spi_time(i, 6);
		item->src.modified_at = spi_time(i, 7);
		item->src.page_count = rmsync_spi_int(i, 8, 0);
	}
}

/* Looks at the target: there is at most one. */
static void
load_polls(MemoryContext cxt, const RmsyncLaneInfo *lane, RmsyncItem **items,
		   int nitems)
{
	static RmsyncPlan plan = { "SELECT rmsync.poll_input($1, $2)::text",
							   2,
							   { INT8OID, BOOLOID } };
	Datum values[2];

	for (int i = 0; i < nitems; i++)
	{
		if (items[i]->type != RMSYNC_POLL)
			continue;
		values[0] = Int64GetDatum(lane->lane_id);
		values[1] = BoolGetDatum(items[i]->forced);
		if (rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT) == 0)
			continue;
		items[i]->src.text = rmsync_spi_text(ITEM_CXT(cxt, items[i]), 0, 1);
		items[i]->present = items[i]->ready = true;
	}
}

static void
copy_hash(char *dst, uint64 row, int col)
{
	char *value = rmsync_spi_text(CurrentMemoryContext, row, col);

	strlcpy(dst, value ? value : "", RMSYNC_HASH_LEN + 1);
}

/*
 * One look into the primary key for each item: no other index has this order.
 * A plan made while the ledger was empty has no other reason to choose it, and
 * "item_id = ANY ($4)" would be a filter over all rows of the user.
 */
static void
load_ledger(MemoryContext cxt, const RmsyncLaneInfo *lane, RmsyncItem **items,
			int nitems, RmsyncItemType type)
{
	static RmsyncPlan plan = {
		"SELECT r.item_id, r.external_id, r.content_hash, r.placement_hash,"
		" r.config_epoch, r.status, r.metadata_json::text, r.intent::text,"
		" r.notebook_uuid, r.look_at"
		" FROM pg_catalog.unnest($4) i (id) CROSS JOIN LATERAL"
		" (SELECT * FROM rmsync.sync_records"
		"  WHERE (user_id, target_name, item_type, item_id) >= ($1, $2, $3, i.id)"
		"  ORDER BY user_id, target_name, item_type, item_id LIMIT 1) r"
		" WHERE r.user_id = $1 AND r.target_name = $2 AND r.item_type = $3"
		" AND r.item_id = i.id",
		4,
		{ INT8OID, TEXTOID, TEXTOID, TEXTARRAYOID },
		.generic = true,
		.indexed = true
	};
	Datum values[4];
	uint64 n;

	if (collect(items, nitems, type, &values[3]) == 0)
		return;
	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(lane->target_name);
	values[2] = CStringGetTextDatum(rmsync_item_type_name(type));
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		RmsyncItem *item = find_item(items, nitems, type,
									 rmsync_spi_text(CurrentMemoryContext, i, 1));
		char *status;

		if (item == NULL)
			continue;
		status = rmsync_spi_text(CurrentMemoryContext, i, 6);
		item->ledger.exists = true;
		item->ledger.external_id = rmsync_spi_text(ITEM_CXT(cxt, item), i, 2);
		item->recorded_id = item->ledger.external_id;
		copy_hash(item->ledger.content_hash, i, 3);
		copy_hash(item->ledger.placement_hash, i, 4);
		item->ledger.config_epoch = rmsync_spi_int(i, 5, 0);
		item->ledger.success = strcmp(status, "success") == 0;
		item->was_delivered = item->ledger.content_hash[0] != '\0';
		item->ledger.metadata = rmsync_spi_text(ITEM_CXT(cxt, item), i, 7);
		item->ledger.intent = rmsync_spi_text(ITEM_CXT(cxt, item), i, 8);
		item->ledger.notebook_uuid = rmsync_spi_text(ITEM_CXT(cxt, item), i, 9);
		item->ledger.look_at = spi_time(i, 10);
		if (item->notebook_uuid == NULL)
			item->notebook_uuid = item->ledger.notebook_uuid;
	}
}

void
rmsync_store_load(MemoryContext cxt, const RmsyncLaneInfo *lane,
				  RmsyncItem **items, int nitems)
{
	if (nitems == 0)
		return;
	/* first the ledger: it knows the notebook of items queued without one */
	for (int type = 0; type < RMSYNC_ITEM_TYPES; type++)
		load_ledger(cxt, lane, items, nitems, (RmsyncItemType) type);
	load_pages(cxt, lane->user_id, items, nitems);
	load_todos(cxt, lane->user_id, items, nitems);
	load_twins(cxt, lane, items, nitems);
	load_highlights(cxt, lane->user_id, items, nitems);
	load_notebooks(cxt, lane->user_id, items, nitems);
	for (int i = 0; i < nitems; i++)
	{
		if (items[i]->present)
			rmsync_item_hashes(items[i]);
	}
	load_polls(cxt, lane, items, nitems);
}

void
rmsync_store_load_each(const RmsyncLaneInfo *lane, RmsyncItem **items, int nitems)
{
	rmsync_store_load(NULL, lane, items, nitems);
}

RmsyncItem *
rmsync_store_notebook(MemoryContext cxt, const RmsyncLaneInfo *lane,
					  const char *uuid, RmsyncSibling **siblings, int *nsiblings)
{
	static RmsyncPlan plan = {
		"WITH lane AS (SELECT c.item_types FROM rmsync.integration_configs c"
		"  WHERE c.id = $4), s AS ("
		" SELECT 'page_text'::text AS item_type, p.item_id, p.page_number,"
		"  p.ready, p.row_id, NULL::text AS page_id, 1 AS part FROM"
		"  (SELECT DISTINCT ON (p.item_id) p.item_id, p.page_number, p.ready,"
		"   p.row_id FROM rmsync.source_page p"
		"   WHERE p.user_id = $1 AND p.notebook_uuid = $2 AND p.live"
		"   ORDER BY p.item_id, p.ready DESC, p.row_id DESC) p"
		" UNION ALL SELECT 'highlight', h.item_id, h.page_number, true,"
		"  h.row_id, h.page_id, 2 FROM rmsync.source_highlight h"
		"  WHERE h.user_id = $1 AND h.notebook_uuid = $2 AND h.live"
		"  AND (SELECT item_types & 8 FROM lane) <> 0"
		" UNION ALL SELECT 'todo', t.item_id, NULL, true, t.row_id, t.page_id,"
		"  3 FROM rmsync.source_todo t"
		"  WHERE t.user_id = $1 AND t.notebook_uuid = $2 AND t.live"
		"  AND (SELECT item_types & 4 FROM lane) <> 0)"
		" SELECT s.item_id, s.page_number, s.ready, r.external_id,"
		" s.item_type, s.page_id FROM s"
		" LEFT JOIN rmsync.sync_records r ON r.user_id = $1"
		"  AND r.target_name = $3 AND r.item_type = s.item_type"
		"  AND r.item_id = s.item_id AND r.notebook_uuid = $2"
		" ORDER BY s.part, s.page_number, s.row_id",
		4,
		{ INT8OID, TEXTOID, TEXTOID, INT8OID }
	};
	RmsyncItem *item = MemoryContextAllocZero(cxt, sizeof(RmsyncItem));
	Datum values[4];
	uint64 n;

	item->type = RMSYNC_NOTEBOOK;
	item->id = MemoryContextStrdup(cxt, uuid);
	item->notebook_uuid = item->id;
	rmsync_store_load(cxt, lane, &item, 1);

	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(uuid);
	values[2] = CStringGetTextDatum(lane->target_name);
	values[3] = Int64GetDatum(lane->lane_id);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	*siblings = MemoryContextAllocZero(cxt, sizeof(RmsyncSibling) * Max(n, 1));
	*nsiblings = (int) n;
	for (uint64 i = 0; i < n; i++)
	{
		RmsyncSibling *s = &(*siblings)[i];

		s->id = rmsync_spi_text(cxt, i, 1);
		s->page_number = rmsync_spi_int(i, 2, 0);
		s->ready = rmsync_spi_bool(i, 3);
		s->external_id = rmsync_spi_text(cxt, i, 4);
		s->type = (RmsyncItemType) rmsync_item_type_parse(
			rmsync_spi_text(CurrentMemoryContext, i, 5));
		s->page_id = rmsync_spi_text(cxt, i, 6);
	}
	return item;
}
