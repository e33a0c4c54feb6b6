/*-------------------------------------------------------------------------
 *
 * notion_adopt.c
 *	  Taking over notebooks that the host application's own sync has
 *	  delivered.
 *
 * rmsync_adopt() makes ledger entries of what the host recorded and gives the
 * notebook's an intent {"op":"adopt"}.  A job that meets it lists the
 * notebook's page before it does anything else, and what is found counts:
 *
 * - toggles are known by the ids in the ledger; one that is missing is not
 *	 there, its page is written anew;
 * - the host has lost records, too.  A toggle that nobody claims and whose
 *	 title is the host's is the page of that number, if that has none; in the
 *	 title the host's older code says what the text was;
 * - the order stays as it is.  The notebook goes on in the direction most of
 *	 it has; toggles that are out of line ("strays") stand where they are until
 *	 their pages are written for another reason.
 *
 * A page of the database that has the notebook's uuid in the host's column
 * "UUID", and not our marker, is the host's: it is adopted where otherwise a
 * page would be created.
 *
 * Called by the states.  Nothing of the host's is rewritten for the sake of a
 * marker; the notebook's own page gets it with its properties.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "fingerprint.h"
#include "target_notion.h"

#define HOST_TITLE "\xF0\x9F\x93\x84 Page "
#define HOST_HASH_LEN 8

static const char adopt_intent[] = "{\"op\":\"adopt\"}";

/* ---- the intent ---- */

bool
rmsync_notion_is_adoption(const char *intent)
{
	Jsonb *json = intent ? rmsync_json_parse(intent, strlen(intent)) : NULL;
	char *op = rmsync_json_get_string(json, "op", NULL);

	return op != NULL && strcmp(op, "adopt") == 0;
}

void
rmsync_notion_adopt_start(NotionJob *nj)
{
	nj->adopting = true;
	rmsync_notion_set_intent(nj, nj->notebook, adopt_intent);
}


/* ---- the host's objects ---- */

/*
 * Reads "📄 Page N" or "📄 Page N [hash8]", in bold, the title of a toggle the
 * host has made.
 */
void
rmsync_notion_read_host_title(Jsonb *block, NotionChild *child)
{
	Jsonb *texts = rmsync_json_get(block, "toggle", "rich_text", NULL);
	Jsonb *style =
		rmsync_json_get(rmsync_json_element(texts, 0), "annotations", NULL);
	StringInfoData title;
	char *p;
	long number;

	if (rmsync_json_array_length(texts) < 1 ||
		!rmsync_json_get_bool(style, "bold", false))
		return;
	initStringInfo(&title);
	for (int i = 0; i < rmsync_json_array_length(texts); i++)
	{
		char *text = rmsync_json_get_string(rmsync_json_element(texts, i),
											"plain_text", NULL);

		appendStringInfoString(&title, text ? text : "");
	}
	if (strncmp(title.data, HOST_TITLE, strlen(HOST_TITLE)) != 0)
		return;
	p = title.data + strlen(HOST_TITLE);
	if (strspn(p, "0123456789") < 1 || strspn(p, "0123456789") > 9)
		return;
	number = strtol(p, &p, 10);
	if (p[0] == ' ' && p[1] == '[' &&
		strspn(p + 2, "0123456789abcdef") == HOST_HASH_LEN &&
		strcmp(p + 2 + HOST_HASH_LEN, "]") == 0)
		strlcpy(child->host_hash, p + 2, sizeof(child->host_hash));
	else if (*p != '\0')
		return;
	child->host_number = (int) number;
}

/*
 * What a page of the database has in the column of our marker; "" if nothing.
 */
char *
rmsync_notion_marker_of(NotionJob *nj, Jsonb *page)
{
	Jsonb *properties = rmsync_json_get(page, "properties", NULL);
	StringInfoData buf;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;

	initStringInfo(&buf);
	if (properties == NULL || !JB_ROOT_IS_OBJECT(properties))
		return buf.data;
	it = JsonbIteratorInit(&properties->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		Jsonb *property;
		Jsonb *texts;
		char *id;

		if (token != WJB_VALUE || v.type != jbvBinary)
			continue;
		property = JsonbValueToJsonb(&v);
		id = rmsync_json_get_string(property, "id", NULL);
		if (id == NULL || strcmp(id, nj->remote.column[NOTION_ID]) != 0)
			continue;
		texts = rmsync_json_get(property, "rich_text", NULL);
		for (int i = 0; i < rmsync_json_array_length(texts); i++)
		{
			char *text = rmsync_json_get_string(rmsync_json_element(texts, i),
												"plain_text", NULL);

			appendStringInfoString(&buf, text ? text : "");
		}
	}
	return buf.data;
}

/*
 * The hash in the title of the host's older code: of {"page_number", "text"}
 * as Python's json.dumps() writes them.
 */
static bool
host_hash_matches(const NotionChild *child, const RmsyncItem *item)
{
	const char *text = item->src.text ? item->src.text : "";
	char hash[RMSYNC_HASH_LEN + 1];
	StringInfoData buf;

	if (child->host_hash[0] == '\0')
		return false;
	initStringInfo(&buf);
	appendStringInfo(&buf,
					 "{\"page_number\": %d, \"text\": ", child->host_number);
	rmsync_py_json_string(&buf, text, strlen(text));
	appendStringInfoChar(&buf, '}');
	rmsync_sha256_hex(buf.data, buf.len, hash);
	return strncmp(hash, child->host_hash, HOST_HASH_LEN) == 0;
}


/* ---- the list against the ledger ---- */

/* The number of a page, 0 for a note. */
static int
slot_number(const NotionSlot *slot)
{
	if (slot->page != NULL)
		return slot->page->item->type == RMSYNC_PAGE
				   ? slot->page->item->src.page_number
				   : 0;
	return slot->sibling->type == RMSYNC_PAGE ? slot->sibling->page_number : 0;
}

/*
 * Gives the children that have no marker of ours to the pages whose toggles
 * they are, by id.
 */
static void
claim_by_id(NotionJob *nj)
{
	for (int i = 0; i < nj->nchildren; i++)
	{
		NotionChild *child = &nj->children[i];

		for (int k = 0; k < nj->nslots && child->key == NULL; k++)
		{
			NotionSlot *slot = &nj->slots[k];

			if (rmsync_notion_same_id(slot->block_id, child->id) ||
				(slot->page != NULL &&
				 rmsync_notion_same_id(slot->page->former, child->id)))
				child->key = rmsync_notion_keep(nj, slot->key);
		}
	}
}

static bool
is_claimed(NotionJob *nj, const char *key)
{
	for (int i = 0; i < nj->nchildren; i++)
	{
		if (nj->children[i].key != NULL && strcmp(nj->children[i].key, key) == 0)
			return true;
	}
	return false;
}

/*
 * The host's toggles that are left go by their number to pages that have
 * none.
 */
static void
claim_by_title(NotionJob *nj)
{
	for (int i = 0; i < nj->nchildren; i++)
	{
		NotionChild *child = &nj->children[i];

		if (child->key != NULL || child->host_number == 0)
			continue;
		for (int k = 0; k < nj->nslots; k++)
		{
			NotionSlot *slot = &nj->slots[k];

			if (slot_number(slot) == child->host_number &&
				!is_claimed(nj, slot->key))
			{
				child->key = rmsync_notion_keep(nj, slot->key);
				break;
			}
		}
	}
}

/*
 * Which way do the numbers go that the reader sees?  Without an answer the
 * configuration's order holds.
 */
static void
find_direction(NotionJob *nj)
{
	int last = 0;
	int rising = 0;
	bool newest_first;

	for (int i = 0; i < nj->nchildren; i++)
	{
		const NotionChild *child = &nj->children[i];
		NotionSlot *slot = child->key ? rmsync_notion_slot(nj, child->key) : NULL;
		int number = child->host_number;

		if (number == 0 && slot != NULL)
			number = slot_number(slot);
		if (number == 0)
			continue;
		if (last > 0 && number != last)
			rising += number > last ? 1 : -1;
		last = number;
	}
	if (rising == 0)
		return;
	newest_first = rising < 0;
	nj->own_order = true;
	if (newest_first == nj->newest_first)
		return;
	nj->newest_first = newest_first;
	rmsync_notion_load_slots(nj);
}

void
rmsync_notion_adopt_children(NotionJob *nj)
{
	claim_by_id(nj);
	if (nj->adopting)
		find_direction(nj);
	claim_by_title(nj);
}

/*
 * Every child has been settled.  What the titles tell of the pages that are
 * due is as good as a record.
 */
void
rmsync_notion_adopt_done(NotionJob *nj)
{
	for (int i = 0; i < nj->nchildren; i++)
	{
		NotionChild *child = &nj->children[i];
		NotionSlot *slot = NULL;
		RmsyncItem *item;

		if (child->host_number > 0 && child->key != NULL)
			slot = rmsync_notion_slot(nj, child->key);
		if (slot == NULL || slot->page == NULL)
			continue;
		item = slot->page->item;
		if (item->outcome != RMSYNC_OUT_NONE || !item->ready ||
			!rmsync_notion_same_id(item->ledger.external_id, child->id))
			continue;

		if (host_hash_matches(child, item))
			strlcpy(item->ledger.content_hash, item->content_hash,
					sizeof(item->ledger.content_hash));
		if (child->host_number == item->src.page_number)
			strlcpy(item->ledger.placement_hash, item->placement_hash,
					sizeof(item->ledger.placement_hash));
		else
			item->ledger.placement_hash[0] = '\0';
		rmsync_notion_page_meta(nj, item);
	}
	nj->adopting = false;
	nj->keep_order = true;
	nj->commit = true;
	rmsync_notion_set_intent(nj, nj->notebook, NULL);
}

/*
 * The block before the first toggle: new pages at the start go behind it, not
 * above the host's heading.
 */
void
rmsync_notion_find_head(NotionJob *nj)
{
	char *last = NULL;

	nj->head = NULL;
	for (int i = 0; i < nj->nchildren; i++)
	{
		const NotionChild *child = &nj->children[i];

		if (child->part > 0)
			break;
		if (child->host_number > 0 || child->key != NULL)
		{
			nj->head = i > 0 ? nj->children[i - 1].id : NULL;
			return;
		}
		last = child->id;
	}
	nj->head = last;
}


/* ---- strays ---- */

bool
rmsync_notion_is_stray(NotionJob *nj, const char *key)
{
	ListCell *cell;

	foreach (cell, nj->strays)
	{
		if (strcmp(lfirst(cell), key) == 0)
			return true;
	}
	return false;
}

void
rmsync_notion_add_stray(NotionJob *nj, const char *key)
{
	MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);

	nj->strays = lappend(nj->strays, pstrdup(key));
	MemoryContextSwitchTo(old);
}

/* It is written at its right place. */
void
rmsync_notion_drop_stray(NotionJob *nj, const char *key)
{
	ListCell *cell;

	foreach (cell, nj->strays)
	{
		if (strcmp(lfirst(cell), key) == 0)
		{
			nj->strays = foreach_delete_current(nj->strays, cell);
			rmsync_notion_notebook_meta(nj);
		}
	}
}

/*
 * After the list of a page that is being adopted, once it is known which
 * toggles stand in line: the others stay where they are, too.
 */
void
rmsync_notion_mark_strays(NotionJob *nj)
{
	if (!nj->keep_order)
		return;
	nj->keep_order = false;
	for (int i = 0; i < nj->nslots; i++)
	{
		NotionSlot *slot = &nj->slots[i];

		if (slot->block_id == NULL || slot->kept || slot->stray ||
			(slot->page != NULL && slot->page->action == NOTION_PLAN_WRITE))
			continue;
		slot->stray = true;
		rmsync_notion_add_stray(nj, slot->key);
	}
	rmsync_notion_notebook_meta(nj);
}
