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
 * blocks that stand next to each other are one together.  What is below two
 * blocks is aligned in the same way, for each pair that may become one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "notion_match.h"

/* Work that an alignment may take, in pairs of blocks, nested ones counted. */
#define MAX_PAIRS 1000000

/* Costs of an alignment, see align_from. */
#define COST_WRITE 100
#define COST_READ 100
#define COST_RESTYLE 60 /* a write, but surely the same block */
#define COST_LEAVE 101	/* a block that stays and should not */
#define COST_NEXT 1		/* one more block in an append */
#define COST_LOSE 50000 /* with a reader's blocks that are below it */
#define GAIN_EQUAL 100000
#define NOT_POSSIBLE PG_INT32_MAX

/*
 * A new toggle takes two writes, an append (which it may share with others)
 * and a deletion.  Up to that number an edit costs nothing more, but for the
 * lists it takes to get down to a nested block.  More requests are worth it if
 * they save comments: two blocks that stay for each write and one for each
 * list, and not so many that other pages have to wait, at 180 a minute.
 */
#define FEW_WRITES 2
#define FEW_READS 4
#define MANY_REQUESTS 20
#define KEPT_PER_WRITE 2


/* ---- costs ---- */

bool
rmsync_notion_is_small(const NotionCost *cost)
{
	if (cost->writes <= FEW_WRITES && cost->reads <= FEW_READS)
		return true;
	return cost->writes * KEPT_PER_WRITE + cost->reads <= cost->kept &&
		   cost->writes + cost->reads <= MANY_REQUESTS;
}

static int weigh(NotionFound *found, int nfound, const NotionPrint *wanted,
				 int nwanted, bool thrifty, NotionCost *cost);

static bool
same_below(const NotionFound *f, const NotionPrint *w)
{
	return f->below_known && strcmp(f->print.below, w->below) == 0;
}

/*
 * Need nothing be written of the block itself?  A line that is as we wrote it
 * and still wanted like that is left alone, also if a reader has ticked it or
 * made it bold.
 */
static bool
is_equal(const NotionFound *f, const NotionPrint *w)
{
	return rmsync_notion_same_ident(&f->print, w) &&
		   (strcmp(f->print.style, w->style) == 0 ||
			(f->was != NULL && strcmp(f->was->style, w->style) == 0));
}

/*
 * Cost of turning what is below one block into what is wanted there; adds to
 * *cost.
 */
static int
below_cost(const NotionFound *f, const NotionPrint *w, bool thrifty,
		   NotionCost *cost)
{
	NotionFound *found;
	int inside;

	if (same_below(f, w))
	{
		cost->kept += w->total - 1;
		return -GAIN_EQUAL * (w->total - 1);
	}
	if (w->nchildren == 0 && w->below[0] != '\0')
		return NOT_POSSIBLE;
	if (f->below_known && f->print.below[0] == '\0')
	{
		cost->writes++;
		return COST_WRITE + w->nchildren * COST_NEXT;
	}

	/* before it can be changed it must be listed */
	cost->reads++;
	if (!f->below_known)
		return COST_READ;

	/* nothing to be kept: writing it anew is as good, and needs no list */
	if (f->print.nchildren == 0 ||
		(cost->kept == 0 && (f->print.sketch & w->sketch) == 0))
		return NOT_POSSIBLE;
	found = rmsync_notion_as_known(f->print.children, f->print.nchildren);
	inside = weigh(found, f->print.nchildren, w->children, w->nchildren,
				   thrifty, cost);
	pfree(found);
	if (inside == NOT_POSSIBLE || (thrifty && !rmsync_notion_is_small(cost)))
		return NOT_POSSIBLE;
	return COST_READ + inside;
}

/* Cost of turning one block into another, with all below; *cost is set. */
static int
match_cost(const NotionFound *f, const NotionPrint *w, bool thrifty,
		   NotionCost *cost)
{
	bool equal = is_equal(f, w);
	int own = -GAIN_EQUAL;
	int below;

	memset(cost, 0, sizeof(*cost));
	if (f->print.kind != w->kind)
		return NOT_POSSIBLE;
	cost->kept = equal;
	cost->writes = !equal;
	if (!equal && !rmsync_notion_can_patch(w->kind))
		return NOT_POSSIBLE;
	if (!equal)
		own = rmsync_notion_same_ident(&f->print, w) ? COST_RESTYLE : COST_WRITE;
	below = below_cost(f, w, thrifty, cost);
	return below == NOT_POSSIBLE ? NOT_POSSIBLE : own + below;
}

static int
drop_cost(const NotionFound *f)
{
	bool loses = f->has_children && f->below_known && f->print.below[0] == '\0';

	return (f->whose == NOTION_OURS ? COST_WRITE : COST_LEAVE) +
		   (loses ? COST_LOSE : 0);
}


/* ---- the best alignment ---- */

/* A table of least costs: from found i and wanted j on to the end. */
typedef struct Table
{
	NotionFound **found; /* those that take part */
	int nfound;
	const NotionPrint *wanted;
	int nwanted;
	bool thrifty;
	int *match; /* [i][j] of this becoming that */
	int *cost;	/* [i][j][the block before was appended, too] */
} Table;

static int *
cell(const Table *t, int i, int j, int appending)
{
	return &t->cost[(i * (t->nwanted + 1) + j) * 2 + appending];
}

/* Cost of each choice at a place. */
static int
choice(const Table *t, int i, int j, int appending, int which)
{
	int cost;

	if ((which != 2 && i == t->nfound) || (which != 1 && j == t->nwanted))
		return NOT_POSSIBLE;
	switch (which)
	{
		case 0: /* this becomes that */
			cost = t->match[i * t->nwanted + j];
			return cost == NOT_POSSIBLE ? NOT_POSSIBLE
										: cost + *cell(t, i + 1, j + 1, 0);
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
	NotionCost cost;

	for (int i = t->nfound; i >= 0; i--)
	{
		CHECK_FOR_INTERRUPTS();
		for (int j = t->nwanted; j >= 0; j--)
		{
			if (i < t->nfound && j < t->nwanted)
				t->match[i * t->nwanted + j] =
					match_cost(t->found[i], &t->wanted[j], t->thrifty, &cost);
			for (int appending = 0; appending < 2; appending++)
			{
				int best = NOT_POSSIBLE;

				for (int which = 0; which < 3; which++)
					best = Min(best, choice(t, i, j, appending, which));
				*cell(t, i, j, appending) =
					i == t->nfound && j == t->nwanted ? 0 : best;
			}
		}
	}
}

/* This becomes that. */
static void
pair(NotionFound *f, const NotionPrint *wanted, int j, bool thrifty,
	 NotionCost *cost)
{
	NotionCost own;

	(void) match_cost(f, &wanted[j], thrifty, &own);
	f->wanted = j;
	f->equal = is_equal(f, &wanted[j]);
	f->deeper = !same_below(f, &wanted[j]);
	cost->writes += own.writes;
	cost->reads += own.reads;
	cost->kept += own.kept;
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
			pair(t->found[i], t->wanted - base, base + j, t->thrifty, cost);
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

/* Work that it would be to compare all of these with each other. */
static bool
too_much(const Table *t)
{
	int64 there = 1;

	for (int i = 0; i < t->nfound; i++)
		there += 1 + rmsync_notion_prints_total(t->found[i]->print.children,
												t->found[i]->print.nchildren);
	return there * (rmsync_notion_prints_total(t->wanted, t->nwanted) + 1) >
		   MAX_PAIRS;
}

/*
 * Aligns, adds to *cost and returns what the alignment weighs; NOT_POSSIBLE if
 * it would be too much work.
 */
static int
weigh(NotionFound *found, int nfound, const NotionPrint *wanted, int nwanted,
	  bool thrifty, NotionCost *cost)
{
	NotionFound **taking = palloc(sizeof(NotionFound *) * (nfound + 1));
	Table t = { taking, 0 };
	int head = 0;
	int tail = 0;
	int weight = 0;

	check_stack_depth();
	for (int i = 0; i < nfound; i++)
	{
		found[i].wanted = -1;
		found[i].equal = found[i].deeper = false;
		if (found[i].whose != NOTION_FOREIGN)
			taking[t.nfound++] = &found[i];
	}

	/* most of a text is as it was */
	while (head < t.nfound && head < nwanted &&
		   is_equal(taking[head], &wanted[head]) &&
		   same_below(taking[head], &wanted[head]))
		pair(taking[head], wanted, head, thrifty, cost), head++;
	while (tail < t.nfound - head && tail < nwanted - head &&
		   is_equal(taking[t.nfound - 1 - tail], &wanted[nwanted - 1 - tail]) &&
		   same_below(taking[t.nfound - 1 - tail], &wanted[nwanted - 1 - tail]))
	{
		pair(taking[t.nfound - 1 - tail], wanted, nwanted - 1 - tail, thrifty,
			 cost);
		tail++;
	}
	weight -=
		GAIN_EQUAL * (rmsync_notion_prints_total(wanted, head) +
					  rmsync_notion_prints_total(wanted + nwanted - tail, tail));

	t.found += head;
	t.nfound -= head + tail;
	t.wanted = wanted + head;
	t.nwanted = nwanted - head - tail;
	t.thrifty = thrifty;
	if (too_much(&t))
		return NOT_POSSIBLE;
	t.match = palloc(sizeof(int) * (t.nfound * t.nwanted + 1));
	t.cost = palloc(sizeof(int) * (t.nfound + 1) * (t.nwanted + 1) * 2);
	align_from(&t);
	read_alignment(&t, head, cost);
	weight += *cell(&t, 0, 0, 0);
	pfree(t.cost);
	pfree(t.match);
	pfree(taking);
	return weight;
}

bool
rmsync_notion_align(NotionFound *found, int nfound, const NotionPrint *wanted,
					int nwanted, bool thrifty, NotionCost *cost)
{
	memset(cost, 0, sizeof(*cost));
	return weigh(found, nfound, wanted, nwanted, thrifty, cost) != NOT_POSSIBLE;
}

bool
rmsync_notion_align_small(NotionFound *found, int nfound,
						  const NotionPrint *wanted, int nwanted, bool *thrifty,
						  NotionCost *cost)
{
	*thrifty = false;
	if (!rmsync_notion_align(found, nfound, wanted, nwanted, *thrifty, cost))
		return false;
	if (rmsync_notion_is_small(cost))
		return true;
	*thrifty = true;
	return rmsync_notion_align(found, nfound, wanted, nwanted, *thrifty, cost) &&
		   rmsync_notion_is_small(cost);
}
