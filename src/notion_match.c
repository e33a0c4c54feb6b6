/*-------------------------------------------------------------------------
 *
 * notion_match.c
 *	  Recognizing our blocks among those that stand at one place.
 *
 * Called by the files of notion_edit.h.  Pure: no SPI, curl or GUC.
 *
 * A block is known by its print (notion_print.c); positions prove nothing,
 * since a reader may write between our blocks and move them.  What is below a
 * block was not listed: it is taken to be what we wrote there as long as the
 * block itself is as we wrote it, and nothing is in doubt.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "notion_match.h"

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

static bool
is_touched(const char *id, const NotionMemory *memory)
{
	return memory->touched != NULL && strstr(memory->touched, id) != NULL;
}

static void
set_below(NotionPrint *print, const NotionPrint *like)
{
	if (like != NULL)
		strlcpy(print->below, like->below, sizeof(print->below));
	else
		print->below[0] = '\0';
	print->children = like ? like->children : NULL;
	print->sketch = like ? like->sketch : 0;
	print->nchildren = like ? like->nchildren : 0;
}

/*
 * What is below a block of ours?  Several blocks may look alike and differ in
 * what is below: then only the order tells, and only if all are there.
 */
static void
learn_below(NotionFound *f, const NotionFound *found, int nfound,
			const NotionMemory *memory)
{
	const NotionPrint *like = NULL;
	bool several = is_touched(f->id, memory);
	int written = 0;
	int there = 0;

	for (int k = 0; k < memory->nknown; k++)
	{
		const NotionPrint *known = &memory->known[k];

		if (!rmsync_notion_same_ident(&f->print, known))
			continue;
		written++;
		if (like != NULL && strcmp(like->below, known->below) != 0)
			several = true;
		if (like == NULL || like->nchildren == 0)
			like = known;
	}
	if (several)
	{
		for (int i = 0; i < nfound; i++)
			there += rmsync_notion_same_ident(&f->print, &found[i].print);
	}
	f->below_known =
		!several || !f->has_children || (f->was != NULL && there == written);
	if (f->was != NULL)
		like = f->was;

	/* without children: somebody removed them; others than ours: not ours */
	set_below(&f->print, f->below_known && f->has_children ? like : NULL);
}

bool
rmsync_notion_recognize(NotionFound *found, int nfound, NotionMemory *memory)
{
	bool inside = memory->maker != NULL;
	int ours = 0;
	int unexplained = 0;

	if (!inside)
		memory->maker = find_maker(found, nfound, memory->known, memory->nknown);
	if (memory->doubt)
		claim_any(found, nfound, memory->known, memory->nknown);
	else
		claim(found, nfound, memory->known, memory->nknown, memory->maker);
	for (int i = 0; i < nfound; i++)
	{
		NotionFound *f = &found[i];

		if (f->whose == NOTION_OURS)
		{
			learn_below(f, found, nfound, memory);
			ours++;
		}
		else if (f->created_by == NULL || memory->maker == NULL ||
				 (is_by(f->created_by, memory->maker) &&
				  is_by(f->edited_by, memory->maker)))
		{
			f->whose = NOTION_UNEXPLAINED;
			unexplained++;
		}
		else if (is_by(f->created_by, memory->maker))
		{
			f->whose = NOTION_EDITED;
			f->below_known = !f->has_children;
		}
	}

	/*
	 * A block that nobody but us has touched, and that is nothing we wrote: has
	 * Notion changed it?  If all we wrote is there, it must be a reader's, who
	 * acts under the same name as we do (a personal token).
	 */
	if (unexplained > 0 && (memory->doubt || ours < memory->nknown))
		return false;
	for (int i = 0; i < nfound; i++)
	{
		if (found[i].whose == NOTION_UNEXPLAINED)
			found[i].whose = NOTION_FOREIGN;
	}
	return inside || nfound == 0 || memory->nknown == 0 || ours > 0;
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
