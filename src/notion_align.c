/*-------------------------------------------------------------------------
 *
 * notion_align.c
 *	  What it takes to turn the blocks of a toggle into those that are wanted.
 *
 * Called by notion_edit_plan.c.  Pure: no SPI, curl or GUC.
 *
 * An alignment keeps the order of both sides, as Notion cannot move blocks.
 * Untouched blocks count for more than any number of requests: comments of
 * readers hang on them.  Among alignments that keep as many, the one with the
 * fewest requests wins: a changed text is one, a deletion is one, and new
 *blocks that stand next to each other are one together.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "notion_match.h"

/* Work that an alignment may take, in pairs of blocks. */
#define MAX_PAIRS 1000000

/* Costs of an alignment, see align_from. */
#define COST_WRITE 100
#define COST_RESTYLE 60 /* a write, but surely the same block */
#define COST_LEAVE 101	/* a block that stays and should not */
#define COST_NEXT 1		/* one more block in an append */
#define GAIN_EQUAL 100000
#define NOT_POSSIBLE (-1)

static bool
same_below(const NotionFound *f, const NotionPrint *w)
{
	return f->below_known && strcmp(f->print.below, w->below) == 0;
}

/*
 * Need nothing be written?  A line that is as we wrote it and still wanted like
 * that is left alone, also if a reader has ticked it or made it bold.
 */
static bool
is_equal(const NotionFound *f, const NotionPrint *w)
{
	return rmsync_notion_same_ident(&f->print, w) && same_below(f, w) &&
		   (strcmp(f->print.style, w->style) == 0 ||
			(f->was != NULL && strcmp(f->was->style, w->style) == 0));
}

/* Cost of turning one into the other. */
static int
match_cost(const NotionFound *f, const NotionPrint *w)
{
	if (f->print.kind != w->kind || !same_below(f, w))
		return NOT_POSSIBLE;
	if (is_equal(f, w))
		return -GAIN_EQUAL;
	if (!rmsync_notion_can_patch(w->kind))
		return NOT_POSSIBLE;
	return rmsync_notion_same_ident(&f->print, w) ? COST_RESTYLE : COST_WRITE;
}

static int
drop_cost(const NotionFound *f)
{
	return f->whose == NOTION_OURS ? COST_WRITE : COST_LEAVE;
}

/* A table of least costs: from found i and wanted j on to the end. */
typedef struct Table
{
	NotionFound **found; /* those that take part */
	int nfound;
	const NotionPrint *wanted;
	int nwanted;
	int *cost; /* [i][j][the block before was appended, too] */
} Table;

static int *
cell(const Table *t, int i, int j, int appending)
{
	return &t->cost[(i * (t->nwanted + 1) + j) * 2 + appending];
}

/* Cost of each choice at a place; PG_INT32_MAX = not possible. */
static int
choice(const Table *t, int i, int j, int appending, int which)
{
	int cost;

	if ((which != 2 && i == t->nfound) || (which != 1 && j == t->nwanted))
		return PG_INT32_MAX;
	switch (which)
	{
		case 0: /* this becomes that */
			cost = match_cost(t->found[i], &t->wanted[j]);
			if (cost == NOT_POSSIBLE)
				return PG_INT32_MAX;
			return cost + *cell(t, i + 1, j + 1, 0);
		case 1: /* this goes */
			return drop_cost(t->found[i]) + *cell(t, i + 1, j, appending);
		default: /* that comes: an append of neighbours is one request */
			return (appending ? COST_NEXT : COST_WRITE + COST_NEXT) +
				   *cell(t, i, j + 1, 1);
	}
}

static void
align_from(Table *t)
{
	for (int i = t->nfound; i >= 0; i--)
	{
		CHECK_FOR_INTERRUPTS();
		for (int j = t->nwanted; j >= 0; j--)
		{
			for (int appending = 0; appending < 2; appending++)
			{
				int best = PG_INT32_MAX;

				for (int which = 0; which < 3; which++)
					best = Min(best, choice(t, i, j, appending, which));
				*cell(t, i, j, appending) =
					i == t->nfound && j == t->nwanted ? 0 : best;
			}
		}
	}
}

/* Walks along the least cost.  "base" is the first wanted block's number. */
static void
read_alignment(const Table *t, int base, NotionCost *cost)
{
	int i = 0;
	int j = 0;
	int appending = 0;

	while (i < t->nfound || j < t->nwanted)
	{
		int best = *cell(t, i, j, appending);

		if (choice(t, i, j, appending, 0) == best)
		{
			t->found[i]->wanted = base + j;
			t->found[i]->equal = is_equal(t->found[i], &t->wanted[j]);
			if (t->found[i]->equal)
				cost->kept++;
			else
				cost->writes++;
			i++, j++;
			appending = 0;
		}
		else if (choice(t, i, j, appending, 1) == best)
			cost->writes += t->found[i++]->whose == NOTION_OURS;
		else
		{
			cost->writes += !appending;
			appending = 1;
			j++;
		}
	}
}

bool
rmsync_notion_align(NotionFound *found, int nfound, const NotionPrint *wanted,
					int nwanted, NotionCost *cost)
{
	Table t = { 0 };
	int head = 0;
	int tail = 0;

	memset(cost, 0, sizeof(*cost));
	t.found = palloc(sizeof(NotionFound *) * (nfound + 1));
	for (int i = 0; i < nfound; i++)
	{
		found[i].wanted = -1;
		found[i].equal = false;
		if (found[i].whose != NOTION_FOREIGN)
			t.found[t.nfound++] = &found[i];
	}

	/* most of a text is as it was */
	while (head < t.nfound && head < nwanted &&
		   is_equal(t.found[head], &wanted[head]))
		head++;
	while (tail < t.nfound - head && tail < nwanted - head &&
		   is_equal(t.found[t.nfound - 1 - tail], &wanted[nwanted - 1 - tail]))
		tail++;
	for (int i = 0; i < head + tail; i++)
	{
		int back = head + tail - i;
		NotionFound *f = i < head ? t.found[i] : t.found[t.nfound - back];

		f->wanted = i < head ? i : nwanted - back;
		f->equal = true;
		cost->kept++;
	}

	t.found += head;
	t.nfound -= head + tail;
	t.wanted = wanted + head;
	t.nwanted = nwanted - head - tail;
	if ((int64) (t.nfound + 1) * (t.nwanted + 1) > MAX_PAIRS)
		return false;
	t.cost = palloc(sizeof(int) * (t.nfound + 1) * (t.nwanted + 1) * 2);
	align_from(&t);
	read_alignment(&t, head, cost);
	return true;
}
