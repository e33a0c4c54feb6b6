/*-------------------------------------------------------------------------
 *
 * markdown_build.h
 *	  The document tree while it is being built.
 *
 * Shared by markdown.c (md4c's callbacks), markdown_build.c (the tree) and
 * markdown_link.c only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_MARKDOWN_BUILD_H
#define RMSYNC_MARKDOWN_BUILD_H

#include <md4c.h>

#include "markdown.h"

#define RMSYNC_MD_TOO_DEEP "lists or quotes are nested too deep"

/* Links within images within links ... */
#define MD_MAX_LINKS 100

/* One level of the tree being built. */
typedef struct MdLevel
{
	RmsyncBlock *block; /* NULL = the document */
	RmsyncBlock *last;	/* its last child */
	RmsyncBlock *before_last;
	RmsyncRun *last_run;
} MdLevel;

/* An open list; lists are no blocks, their items are. */
typedef struct MdList
{
	bool ordered;
	bool first;	   /* no item yet */
	bool all_same; /* every number so far was equal: "1. 1. 1." */
	int written;   /* number of the item before, as written */
	int shown;	   /* and as a reader counts it */
} MdList;

/* An open link or image. */
typedef struct MdLink
{
	char *url; /* NULL = keep the source's characters */
	char *href;
	char *title;
	bool image;
	bool started; /* text was seen, "[" written if need be */
	bool bare;	  /* <scheme:...>: has no brackets */
	bool used;	  /* some run links to url */
} MdLink;

typedef struct MdBuilder
{
	const char *begin; /* the prepared text */
	const char *end;
	const char *why; /* constant; set once, then everything stops */
	RmsyncDocument *doc;

	MdLevel levels[RMSYNC_MARKDOWN_MAX_DEPTH + 2];
	int depth;		   /* levels[depth] is open; 0 = document */
	RmsyncBlock *leaf; /* takes text; NULL = none yet */
	bool own_leaf;	   /* leaf is a level of its own, to be closed */

	MdList lists[RMSYNC_MARKDOWN_MAX_DEPTH + 2];
	int nlists;
	/* Ordered items whose number has not been read yet. */
	RmsyncBlock *pending[RMSYNC_MARKDOWN_MAX_DEPTH + 2];
	int pending_list[RMSYNC_MARKDOWN_MAX_DEPTH + 2];
	int npending;

	/* text since the last change of style */
	char *buf;
	size_t buf_len;
	size_t buf_size;
	int bold,
		italic, strike, code; /* how many of each span are open */
	MdLink links[MD_MAX_LINKS];
	int nlinks;

	const char *leaf_first; /* source of the leaf's first and last text */
	const char *leaf_last;

	bool in_head;
	int ncells;
	int row;				 /* 0 = header */
	const char *row_text;	 /* where its last text ends, NULL = none */
	const char *anchor;		 /* start of a line of the table we know */
	int anchor_line;		 /* which one; 1 = the underline */
} MdBuilder;


/*
 * None of these throws.  Those that return int return 0, or -1 with b->why
 * set; those that return a pointer return NULL then.
 */
extern int rmsync_md_fail(MdBuilder *b, const char *why);
extern void *rmsync_md_grab(MdBuilder *b, size_t size);
extern bool rmsync_md_in_source(const MdBuilder *b, const char *p);

/* Text goes to the open leaf; a change of style or link ends a run. */
extern int rmsync_md_add_text(MdBuilder *b, const char *text, size_t len);
extern int rmsync_md_add_string(MdBuilder *b, const char *text);
extern int rmsync_md_flush_run(MdBuilder *b);

/* Blocks.  A leaf is the block that takes text now. */
extern bool rmsync_md_takes_text(RmsyncBlockType type);
extern RmsyncBlock *rmsync_md_open_block(MdBuilder *b, RmsyncBlockType type);
extern void rmsync_md_close_block(MdBuilder *b);
extern void rmsync_md_unlink_last(MdBuilder *b);
extern int rmsync_md_open_leaf(MdBuilder *b, RmsyncBlockType type);
extern int rmsync_md_close_leaf(MdBuilder *b);

/* Lists. */
extern int rmsync_md_enter_list(MdBuilder *b, bool ordered, unsigned start);
extern int rmsync_md_enter_item(MdBuilder *b, const MD_BLOCK_LI_DETAIL *li);
extern void rmsync_md_number_pending(MdBuilder *b, const char *p);

/* Links and images: markdown_link.c. */
extern char *rmsync_md_attribute(MdBuilder *b, const MD_ATTRIBUTE *a);
extern int rmsync_md_enter_link(MdBuilder *b, bool image,
								const MD_ATTRIBUTE *href,
								const MD_ATTRIBUTE *title);
extern int rmsync_md_start_links(MdBuilder *b, const char *source);
extern int rmsync_md_end_link(MdBuilder *b);
extern int rmsync_md_leave_link(MdBuilder *b, bool image,
								const MD_ATTRIBUTE *href,
								const MD_ATTRIBUTE *title);

#endif							/* RMSYNC_MARKDOWN_BUILD_H */
