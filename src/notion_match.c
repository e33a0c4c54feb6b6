/*-------------------------------------------------------------------------
 *
 * notion_match.c
 *	  Recognizing our blocks in a toggle.
 *
 * Called by the files of notion_edit.h.  Pure: no SPI, curl or GUC.
 *
 * Notion tells of a block what type it has, its text with annotations and
 * links, a few fields, and whether it has children.  From that a "print" is
 * made, and the same one from the block as we render it.  Equal prints are
 * equal blocks; positions prove nothing, since a reader may write between our
 * blocks and move them.  What is below a block is not listed: it is taken to be
 * what we wrote there as long as the block itself is as we wrote it.
 *
 * Colours and icons are the reader's and no part of a print.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fingerprint.h"
#include "json.h"
#include "miscadmin.h"
#include "notion_match.h"

static const struct
{
	char letter;
	bool text; /* has one, which can be changed */
	const char *type;
} kinds[] = {
	{ 'p', true, "paragraph" },
	{ '1', true, "heading_1" },
	{ '2', true, "heading_2" },
	{ '3', true, "heading_3" },
	{ '4', true, "heading_4" },
	{ 'b', true, "bulleted_list_item" },
	{ 'n', true, "numbered_list_item" },
	{ 't', true, "to_do" },
	{ 'q', true, "quote" },
	{ 'c', true, "code" },
	{ 'd', false, "divider" },
	{ 'w', false, "table" },
};


/* ---- prints ---- */

static char
kind_letter(const char *type)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].type, type) == 0)
			return kinds[i].letter;
	}
	return '?';
}

bool
rmsync_notion_can_patch(char letter)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (kinds[i].letter == letter)
			return kinds[i].text;
	}
	return false;
}

static void
short_hash(const StringInfoData *text, int len, char *out)
{
	char hex[RMSYNC_HASH_LEN + 1];

	rmsync_sha256_hex(text->data, text->len, hex);
	strlcpy(out, hex, len + 1);
}

static int
annotations_of(Jsonb *item)
{
	static const char *const names[] = { "bold", "italic", "strikethrough",
										 "underline", "code" };
	Jsonb *marks = rmsync_json_get(item, "annotations", NULL);
	int bits = 0;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (rmsync_json_get_bool(marks, names[i], false))
			bits |= 1 << i;
	}
	return bits;
}

/*
 * Adds an array of rich text: what it says to "ident", how to "style".  Notion
 * may join and split items, so runs of one style count as one.
 */
static void
describe_text(Jsonb *items, StringInfo ident, StringInfo style)
{
	char *last = NULL;
	int run = 0;

	for (int i = 0; i < rmsync_json_array_length(items); i++)
	{
		Jsonb *item = rmsync_json_element(items, i);
		char *type = rmsync_json_get_string(item, "type", NULL);
		char *text = rmsync_json_get_string(item, "plain_text", NULL);
		char *link = rmsync_json_get_string(item, "text", "link", "url", NULL);
		char *key;

		if (text == NULL)
			text = rmsync_json_get_string(item, "text", "content", NULL);
		if (text == NULL || *text == '\0')
			continue;
		if (link == NULL)
			link = rmsync_json_get_string(item, "href", NULL);
		key = psprintf("%s|%d|%s", type ? type : "text", annotations_of(item),
					   link ? link : "");
		if (last != NULL && strcmp(last, key) != 0)
		{
			appendStringInfo(style, "%d:%s\n", run, last);
			run = 0;
		}
		last = key;
		run += strlen(text);
		appendStringInfoString(ident, text);
	}
	if (last != NULL)
		appendStringInfo(style, "%d:%s\n", run, last);
}

/*
 * Makes the print of a block in the form the API has, without what is below.
 */
static bool
describe(Jsonb *block, NotionPrint *print)
{
	static const char *const flags[] = { "checked", "has_column_header",
										 "has_row_header" };
	char *type = rmsync_json_get_string(block, "type", NULL);
	Jsonb *content = type ? rmsync_json_get(block, type, NULL) : NULL;
	char *language;
	StringInfoData ident;
	StringInfoData style;

	memset(print, 0, sizeof(*print));
	if (content == NULL)
		return false;
	print->kind = kind_letter(type);
	initStringInfo(&ident);
	initStringInfo(&style);
	appendStringInfo(&ident, "%s\n", type);
	describe_text(rmsync_json_get(content, "rich_text", NULL), &ident, &style);
	appendStringInfoChar(&style, '\n');
	describe_text(rmsync_json_get(content, "caption", NULL), &style, &style);
	for (int i = 0; i < lengthof(flags); i++)
		appendStringInfo(&style, "%d",
						 rmsync_json_get_bool(content, flags[i], false));
	appendStringInfo(&ident, "\n%d",
					 (int) rmsync_json_get_number(content, "table_width", 0));
	language = rmsync_json_get_string(content, "language", NULL);
	appendStringInfo(&style, "%s", language ? language : "");
	short_hash(&ident, NOTION_IDENT_LEN, print->ident);
	short_hash(&style, NOTION_STYLE_LEN, print->style);
	return true;
}

static void
write_below(StringInfo buf, const NotionBlock *first)
{
	check_stack_depth();
	for (const NotionBlock *block = first; block != NULL; block = block->next)
	{
		appendStringInfo(buf, "%s%s(", block->head, block->tail);
		write_below(buf, block->children);
		appendStringInfoChar(buf, ')');
	}
}

NotionPrint *
rmsync_notion_prints(const NotionBlock *first, int *n)
{
	NotionPrint *prints;
	int i = 0;

	*n = 0;
	for (const NotionBlock *block = first; block != NULL; block = block->next)
		(*n)++;
	prints = palloc0(sizeof(NotionPrint) * (*n + 1));
	for (const NotionBlock *block = first; block != NULL; block = block->next)
	{
		char *text = psprintf("%s%s", block->head, block->tail);
		Jsonb *json = rmsync_json_parse(text, strlen(text));

		CHECK_FOR_INTERRUPTS();
		if (json == NULL || !describe(json, &prints[i]))
			prints[i].kind = '?';
		if (block->children != NULL)
		{
			StringInfoData buf;

			initStringInfo(&buf);
			write_below(&buf, block->children);
			short_hash(&buf, NOTION_BELOW_LEN, prints[i].below);
			pfree(buf.data);
		}
		pfree(text);
		i++;
	}
	return prints;
}

char *
rmsync_notion_prints_text(const NotionPrint *prints, int n)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < n; i++)
		appendStringInfo(&buf, "%s%c%s%s%s", i > 0 ? " " : "", prints[i].kind,
						 prints[i].ident, prints[i].style, prints[i].below);
	return buf.data;
}

NotionPrint *
rmsync_notion_prints_read(const char *text, int *n)
{
	const int least = 1 + NOTION_IDENT_LEN + NOTION_STYLE_LEN;
	int max = strlen(text) / least + 1;
	NotionPrint *prints = palloc0(sizeof(NotionPrint) * max);

	*n = 0;
	while (*text != '\0')
	{
		int len = strcspn(text, " ");
		NotionPrint *print = &prints[*n];
		const char *p = text + 1;

		if (len != least && len != least + NOTION_BELOW_LEN)
			return NULL;
		print->kind = *text;
		strlcpy(print->ident, p, sizeof(print->ident));
		strlcpy(print->style, p + NOTION_IDENT_LEN, sizeof(print->style));
		if (len > least)
			strlcpy(print->below, text + least, sizeof(print->below));
		(*n)++;
		text += len;
		if (*text == ' ')
			text++;
	}
	return prints;
}

bool
rmsync_notion_read_found(Jsonb *block, NotionFound *found)
{
	char *imagined = rmsync_json_get_string(block, "imagined", NULL);
	int n;

	memset(found, 0, sizeof(*found));
	found->wanted = -1;
	found->id = rmsync_json_get_string(block, "id", NULL);
	if (found->id == NULL)
		return false;
	if (imagined != NULL)
	{
		/* for a preview, which knows prints only */
		NotionPrint *print = rmsync_notion_prints_read(imagined, &n);

		if (print == NULL || n != 1)
			return false;
		found->print = *print;
		found->has_children = print->below[0] != '\0';
		return true;
	}
	found->has_children = rmsync_json_get_bool(block, "has_children", false);
	found->created_by = rmsync_json_get_string(block, "created_by", "id", NULL);
	found->edited_by =
		rmsync_json_get_string(block, "last_edited_by", "id", NULL);
	if (!describe(block, &found->print))
		found->print.kind = '?';
	return true;
}


/* ---- whose is it? ---- */

bool
rmsync_notion_same_ident(const NotionPrint *a, const NotionPrint *b)
{
	return a->kind == b->kind && strcmp(a->ident, b->ident) == 0;
}

static bool
same_own(const NotionPrint *a, const NotionPrint *b)
{
	return rmsync_notion_same_ident(a, b) && strcmp(a->style, b->style) == 0;
}

/*
 * Who made most of the blocks that are as we have written them: we did, under
 * the name our connection has.
 */
static const char *
find_maker(const NotionFound *found, int nfound, const NotionPrint *known,
		   int nknown)
{
	const char *maker = NULL;
	int votes = 0;

	for (int i = 0; i < nfound; i++)
	{
		bool ours = false;

		for (int k = 0; k < nknown && !ours; k++)
			ours = same_own(&found[i].print, &known[k]);
		if (!ours || found[i].created_by == NULL)
			continue;
		if (votes == 0)
			maker = found[i].created_by;
		votes += strcmp(maker, found[i].created_by) == 0 ? 1 : -1;
	}
	return maker;
}

static bool
is_by(const char *who, const char *maker)
{
	return who != NULL && maker != NULL && strcmp(who, maker) == 0;
}

/*
 * Gives a block to what we wrote, each entry once: in the order of both, those
 * that are not restyled first, and those we made before copies of a reader's.
 */
static void
claim(NotionFound *found, int nfound, const NotionPrint *known, int nknown,
	  const char *maker)
{
	bool *taken = palloc0(sizeof(bool) * (nknown + 1));

	for (int pass = 0; pass < 3; pass++)
	{
		for (int i = 0; i < nfound; i++)
		{
			if (found[i].was != NULL ||
				(pass == 0 && !is_by(found[i].created_by, maker)))
				continue;
			for (int k = 0; k < nknown; k++)
			{
				if (taken[k] ||
					!(pass < 2
						  ? same_own(&found[i].print, &known[k])
						  : rmsync_notion_same_ident(&found[i].print, &known[k])))
					continue;
				taken[k] = true;
				found[i].was = &known[k];
				found[i].whose = NOTION_OURS;
				break;
			}
		}
	}
	pfree(taken);
}

/*
 * In doubt, what is there may be of one version or the other: known is what
 * equals any entry, as what it was written is not.
 */
static void
claim_any(NotionFound *found, int nfound, const NotionPrint *known, int nknown)
{
	for (int i = 0; i < nfound; i++)
	{
		for (int k = 0; k < nknown && found[i].whose == NOTION_FOREIGN; k++)
		{
			if (rmsync_notion_same_ident(&found[i].print, &known[k]))
				found[i].whose = NOTION_OURS;
		}
	}
}

/*
 * What is below a block of ours?  Several blocks may look alike and differ in
 * what is below: then only the order tells, and only if all are there.
 */
static void
learn_below(NotionFound *f, const NotionFound *found, int nfound,
			const NotionPrint *known, int nknown)
{
	const char *below = NULL;
	bool several = false;
	int written = 0;
	int there = 0;

	f->below_known = true;
	f->print.below[0] = '\0';
	for (int k = 0; k < nknown; k++)
	{
		if (!rmsync_notion_same_ident(&f->print, &known[k]))
			continue;
		written++;
		if (below != NULL && strcmp(below, known[k].below) != 0)
			several = true;
		below = known[k].below;
	}
	if (several)
	{
		for (int i = 0; i < nfound; i++)
			there += rmsync_notion_same_ident(&f->print, &found[i].print);
		if (f->was == NULL || there != written)
		{
			f->below_known = !f->has_children;
			return;
		}
	}
	if (f->was != NULL)
		below = f->was->below;

	/* without children: somebody removed them; others than ours: not ours */
	if (f->has_children && below != NULL)
		strlcpy(f->print.below, below, sizeof(f->print.below));
}

bool
rmsync_notion_recognize(NotionFound *found, int nfound,
						const NotionPrint *known, int nknown, bool doubt)
{
	const char *maker = find_maker(found, nfound, known, nknown);
	int ours = 0;
	int unexplained = 0;

	if (doubt)
		claim_any(found, nfound, known, nknown);
	else
		claim(found, nfound, known, nknown, maker);
	for (int i = 0; i < nfound; i++)
	{
		NotionFound *f = &found[i];

		if (f->whose == NOTION_OURS)
		{
			learn_below(f, found, nfound, known, nknown);
			ours++;
		}
		else if (f->created_by == NULL || maker == NULL ||
				 (is_by(f->created_by, maker) && is_by(f->edited_by, maker)))
		{
			f->whose = NOTION_UNEXPLAINED;
			unexplained++;
		}
		else if (is_by(f->created_by, maker))
		{
			/* what a reader has put below must not be lost with it */
			if (f->has_children)
				return false;
			f->whose = NOTION_EDITED;
			f->below_known = true;
		}
	}

	/*
	 * A block that nobody but us has touched, and that is nothing we wrote: has
	 * Notion changed it?  If all we wrote is there, it must be a reader's, who
	 * acts under the same name as we do (a personal token).
	 */
	if (unexplained > 0 && (doubt || ours < nknown))
		return false;
	for (int i = 0; i < nfound; i++)
	{
		if (found[i].whose == NOTION_UNEXPLAINED)
			found[i].whose = NOTION_FOREIGN;
	}
	return nfound == 0 || nknown == 0 || ours > 0;
}

NotionFound *
rmsync_notion_as_known(const NotionPrint *known, int nknown)
{
	NotionFound *found = palloc0(sizeof(NotionFound) * (nknown + 1));

	for (int i = 0; i < nknown; i++)
	{
		found[i].print = known[i];
		found[i].has_children = known[i].below[0] != '\0';
		found[i].below_known = true;
		found[i].whose = NOTION_OURS;
		found[i].was = &known[i];
		found[i].wanted = -1;
	}
	return found;
}
