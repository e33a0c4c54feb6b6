/*-------------------------------------------------------------------------
 *
 * markdown_link.c
 *	  Links and images, for markdown.c.
 *
 * A link to http, https or mailto is the link of its runs; any other stays
 * in the text as it is written.  Runs below md4c: see markdown_build.c for
 * what that forbids.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "markdown_build.h"
#include "markdown_source.h"

/* Copies a link target, title or language, with its entities decoded. */
char *
rmsync_md_attribute(MdBuilder *b, const MD_ATTRIBUTE *a)
{
	char *dst = rmsync_md_grab(b, a->size * 4 + 1);
	size_t len = 0;

	if (dst == NULL)
		return NULL;
	for (int i = 0; a->size > 0 && a->substr_offsets[i] < a->size; i++)
	{
		const char *part = a->text + a->substr_offsets[i];
		size_t part_len = a->substr_offsets[i + 1] - a->substr_offsets[i];
		int n = 0;

		if (a->substr_types[i] == MD_TEXT_ENTITY)
			n = rmsync_markdown_entity(dst + len, part, part_len);
		if (n == 0)
			n = rmsync_markdown_unmask(dst + len, part, part_len);
		len += n;
	}
	dst[len] = '\0';
	return dst;
}

static bool
is_web_address(const char *url)
{
	return pg_strncasecmp(url, "http://", 7) == 0 ||
		   pg_strncasecmp(url, "https://", 8) == 0 ||
		   pg_strncasecmp(url, "mailto:", 7) == 0;
}

int
rmsync_md_enter_link(MdBuilder *b, bool image, const MD_ATTRIBUTE *href,
					 const MD_ATTRIBUTE *title)
{
	MdLink *link;

	if (b->nlinks >= MD_MAX_LINKS)
		return rmsync_md_fail(b, "links are nested too deep");
	if (b->leaf == NULL && rmsync_md_open_leaf(b, RMSYNC_BLOCK_PARAGRAPH) != 0)
		return -1;
	link = &b->links[b->nlinks];
	memset(link, 0, sizeof(MdLink));
	link->image = image;
	link->href = rmsync_md_attribute(b, href);
	link->title = rmsync_md_attribute(b, title);
	if (link->href == NULL || link->title == NULL)
		return -1;
	if (is_web_address(link->href))
	{
		if (rmsync_md_flush_run(b) != 0)
			return -1;
		link->url = link->href;
	}
	b->nlinks++;
	return 0;
}

/* The first text in the open links: write the brackets of those kept. */
int
rmsync_md_start_links(MdBuilder *b, const char *source)
{
	for (int i = 0; i < b->nlinks; i++)
	{
		MdLink *link = &b->links[i];

		if (link->started)
			continue;
		link->started = true;
		if (link->url != NULL)
			continue;
		link->bare = i == b->nlinks - 1 && source != NULL &&
					 source > b->begin && source[-1] == '<';
		if (!link->bare && rmsync_md_add_string(b, link->image ? "![" : "[") != 0)
			return -1;
	}
	return 0;
}

/* Writes "](href "title")". */
static int
add_target(MdBuilder *b, const char *href, const char *title)
{
	if (rmsync_md_add_string(b, "](") != 0 || rmsync_md_add_string(b, href) != 0)
		return -1;
	if (title[0] != '\0' && (rmsync_md_add_string(b, " \"") != 0 ||
							 rmsync_md_add_string(b, title) != 0 ||
							 rmsync_md_add_string(b, "\"") != 0))
		return -1;
	return rmsync_md_add_string(b, ")");
}

/* Ends the innermost link. */
int
rmsync_md_end_link(MdBuilder *b)
{
	MdLink *link = &b->links[b->nlinks - 1];
	int ret;

	if (link->url == NULL)
	{
		ret = rmsync_md_start_links(b, NULL);
		b->nlinks--;
		if (!link->bare)
			ret = ret || add_target(b, link->href, link->title);
		return ret ? -1 : 0;
	}

	ret = rmsync_md_flush_run(b);
	if (!link->used) /* no text, or only that of a link within */
		ret = ret || (link->started && rmsync_md_add_string(b, " ")) ||
			  rmsync_md_start_links(b, NULL) ||
			  rmsync_md_add_string(b, link->url) || rmsync_md_flush_run(b);
	b->nlinks--;
	if (link->title[0] != '\0')
		ret = ret || rmsync_md_add_string(b, " (") ||
			  rmsync_md_add_string(b, link->title) ||
			  rmsync_md_add_string(b, ")");
	return ret ? -1 : 0;
}

/*
 * md4c 0.4 ends links it did not begin, if their opening bracket was in the
 * target of another: "[](![)]()".  The end is text then.
 */
int
rmsync_md_leave_link(MdBuilder *b, bool image, const MD_ATTRIBUTE *href,
					 const MD_ATTRIBUTE *title)
{
	char *h = rmsync_md_attribute(b, href);
	char *t = rmsync_md_attribute(b, title);
	MdLink *link = b->nlinks > 0 ? &b->links[b->nlinks - 1] : NULL;

	if (h == NULL || t == NULL)
		return -1;
	if (link == NULL || link->image != image || strcmp(link->href, h) != 0)
		return add_target(b, h, t);
	return rmsync_md_end_link(b);
}
