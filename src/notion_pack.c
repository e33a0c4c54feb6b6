/*-------------------------------------------------------------------------
 *
 * notion_pack.c
 *	  Splits a tree of Notion blocks into requests of legal size.
 *
 * Called by the Notion targets, once per request: pack, send, fill in the ids
 * the answer tells, ask for the next open block, pack again.  Pure.
 *
 * Notion appends only to the end of a parent and cannot move a block, so the
 * order in which blocks are created is the order a reader sees.  Invariants:
 *
 * 1. The created children of a block are a prefix of its children.  A request
 *	  starts at the first child not created and stops at the first that does
 *	  not fit; nothing behind it is written, at any tier.
 * 2. A nested block is created with its whole subtree.  What is left open is
 *	  a top-level block of some request, and the answer told its id, so it can
 *	  be appended to without listing anything.
 * 3. An atomic block (a table) is created with all its children.  It is
 *	  never larger than a request, so as a top-level block it always fits.
 *
 * From 1 follows order: siblings are created in order, and appends to
 * different parents cannot disturb each other.  From 3 follows progress: the
 * first block always fits, if need be without its children.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "json.h"
#include "miscadmin.h"
#include "notion_blocks.h"

#define MAX_ARRAY 100
#define MAX_BLOCKS 1000
#define MAX_BYTES 450000
#define MAX_TIERS 3

#define CHILDREN_OPEN ",\"children\":["

/* What a request has left. */
typedef struct Budget
{
	int blocks;
	size_t bytes;
} Budget;

static bool
fits_whole(const NotionBlock *block, int tier, const Budget *budget)
{
	return block->height + tier - 1 <= MAX_TIERS && block->fan <= MAX_ARRAY &&
		   block->total <= budget->blocks && block->bytes + 1 <= budget->bytes;
}

static void
write_whole(StringInfo body, NotionBlock *block)
{
	check_stack_depth();
	appendStringInfoString(body, block->head);
	if (block->children != NULL)
	{
		appendStringInfoString(body, CHILDREN_OPEN);
		for (NotionBlock *c = block->children; c != NULL; c = c->next)
		{
			if (c != block->children)
				appendStringInfoChar(body, ',');
			write_whole(body, c);
		}
		appendStringInfoChar(body, ']');
	}
	appendStringInfoString(body, block->tail);
	block->created = true;
}

static void
spend(Budget *budget, int blocks, size_t bytes)
{
	budget->blocks -= blocks;
	budget->bytes -= Min(bytes, budget->bytes);
}

/* A top-level block with the children that fit; the others come later. */
static void
write_begun(StringInfo body, NotionBlock *block, Budget *budget)
{
	int n = 0;

	spend(budget, 1,
		  strlen(block->head) + strlen(block->tail) + strlen(CHILDREN_OPEN) + 2);
	appendStringInfoString(body, block->head);
	for (NotionBlock *c = block->children; c != NULL; c = c->next)
	{
		if (n == MAX_ARRAY || !fits_whole(c, 2, budget))
			break;
		appendStringInfoString(body, n == 0 ? CHILDREN_OPEN : ",");
		write_whole(body, c);
		spend(budget, c->total, c->bytes + 1);
		n++;
	}
	if (n > 0)
		appendStringInfoChar(body, ']');
	appendStringInfoString(body, block->tail);
	block->created = true;
}

static void
write_position(StringInfo body, const NotionPosition *position)
{
	if (position == NULL || position->kind == NOTION_AT_END)
		return;
	if (position->kind == NOTION_AT_START)
	{
		appendStringInfoString(body, ",\"position\":{\"type\":\"start\"}");
		return;
	}
	appendStringInfoString(body, ",\"position\":{\"type\":\"after_block\","
								 "\"after_block\":{\"id\":");
	rmsync_json_string(body, position->after_id);
	appendStringInfoString(body, "}}");
}

NotionBlock *
rmsync_notion_pack_append(NotionBlock *first, const NotionPosition *position,
						  StringInfo body, int *nwritten, bool *whole)
{
	Budget budget = { MAX_BLOCKS, MAX_BYTES - 200 };
	NotionBlock *block;

	*nwritten = 0;
	*whole = true;
	appendStringInfoString(body, "{\"children\":[");
	for (block = first; block != NULL; block = block->next)
	{
		if (*nwritten == MAX_ARRAY)
			break;
		Assert(!block->created);
		if (fits_whole(block, 1, &budget))
		{
			if (*nwritten > 0)
				appendStringInfoChar(body, ',');
			write_whole(body, block);
			spend(&budget, block->total, block->bytes + 1);
		}
		else
		{
			/*
			 * Left open are only blocks no request could take whole, and the
			 * first one: another may fit the next request.
			 */
			if (*nwritten > 0 && (block->atomic || block->total > budget.blocks ||
								  block->bytes + 1 > budget.bytes))
				break;
			if (block->atomic)
				elog(ERROR, "table does not fit into a Notion request");
			if (*nwritten > 0)
				appendStringInfoChar(body, ',');
			write_begun(body, block, &budget);
			*whole = false;
		}
		(*nwritten)++;
	}
	appendStringInfoChar(body, ']');
	write_position(body, position);
	appendStringInfoChar(body, '}');
	return block;
}

NotionBlock *
rmsync_notion_next_child(NotionBlock *block)
{
	while (block->rest != NULL && block->rest->created)
		block->rest = block->rest->next;
	return block->rest;
}

/* "rest" and "open" only move forward: all calls together are linear. */
static NotionBlock *
next_open(NotionBlock *block, NotionBlock **parent)
{
	check_stack_depth();
	if (rmsync_notion_next_child(block) != NULL)
		return block;
	for (; block->open != NULL; block->open = block->open->next)
	{
		NotionBlock *found = next_open(block->open, parent);

		if (found == block->open)
			*parent = block;
		if (found != NULL)
			return found;
	}
	return NULL;
}

NotionBlock *
rmsync_notion_next_open(NotionBlock *root, NotionBlock **parent)
{
	*parent = NULL;
	return root->created ? next_open(root, parent) : NULL;
}
