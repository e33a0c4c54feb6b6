/*-------------------------------------------------------------------------
 *
 * notion_text.c
 *	  Text as Notion takes it: rich_text items of at most 2000 UTF-16 units.
 *
 * Called by notion_blocks.c, and by targets for titles and properties.  Never
 * drops a character: the concatenated content of the items is the text.
 * Pure: no SPI, curl or GUC.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "json.h"
#include "mb/pg_wchar.h"
#include "notion_blocks.h"
#include "notion_text.h"

/* A cut may be up to so many units before the limit to be at a good place. */
#define CUT_WINDOW 200

/* The same for a title, in characters. */
#define CLIP_WINDOW 20

int
rmsync_utf16_length(const char *text, size_t len)
{
	int units = 0;

	/* 4-byte sequences are surrogate pairs; their tails count nothing */
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		units += (c & 0xC0) != 0x80;
		units += c >= 0xF0;
	}
	return units;
}

/* Characters that belong to the one before them: marks, joiners, tones. */
static const struct
{
	pg_wchar first;
	pg_wchar last;
} extenders[] = {
	{ 0x0300, 0x036F }, { 0x0483, 0x0489 },	  { 0x0591, 0x05C7 },
	{ 0x0610, 0x061A }, { 0x064B, 0x065F },	  { 0x0900, 0x0903 },
	{ 0x093A, 0x093C }, { 0x093E, 0x094F },	  { 0x0E31, 0x0E31 },
	{ 0x0E34, 0x0E3A }, { 0x0E47, 0x0E4E },	  { 0x1160, 0x11FF },
	{ 0x1AB0, 0x1AFF }, { 0x1DC0, 0x1DFF },	  { 0x200D, 0x200D },
	{ 0x20D0, 0x20FF }, { 0x3099, 0x309A },	  { 0xFE00, 0xFE0F },
	{ 0xFE20, 0xFE2F }, { 0x1F3FB, 0x1F3FF }, { 0xE0020, 0xE01EF },
};

/* Regional indicators: two of them are a flag. */
static bool
is_flag_half(pg_wchar c)
{
	return c >= 0x1F1E6 && c <= 0x1F1FF;
}

/* Does this character belong to the one before it? */
static bool
is_extender(pg_wchar c, pg_wchar before)
{
	if (before == 0x200D || (c == '\n' && before == '\r'))
		return true;
	/* flags are pairs; in a row of them any cut may be in one */
	if (is_flag_half(c) && is_flag_half(before))
		return true;
	for (int i = 0; i < lengthof(extenders); i++)
	{
		if (c >= extenders[i].first && c <= extenders[i].last)
			return true;
	}
	return false;
}

size_t
rmsync_notion_cut(const char *text, size_t len, int limit)
{
	int units = 0;
	size_t i = 0;
	size_t after_line = 0;
	size_t after_space = 0;
	size_t after_char = 0;
	pg_wchar before = 0;

	while (i < len)
	{
		int n = pg_utf_mblen((const unsigned char *) text + i);
		int u = n == 4 ? 2 : 1;
		pg_wchar c;

		if (i + n > len) /* not UTF-8; do not run away */
		{
			n = len - i;
			c = 0xFFFD;
		}
		else
			c = utf8_to_unicode((const unsigned char *) text + i);
		if (units > limit - CUT_WINDOW && i > 0)
		{
			if (text[i - 1] == '\n')
				after_line = i;
			else if (text[i - 1] == ' ')
				after_space = i;
			if (!is_extender(c, before))
				after_char = i;
		}
		if (units + u > limit)
			return after_line	 ? after_line
				   : after_space ? after_space
				   : after_char	 ? after_char
								 : i;
		units += u;
		i += n;
		before = c;
	}
	return len;
}

char *
rmsync_notion_clip(const char *text, int max)
{
	size_t len = strlen(text);
	size_t i = 0;
	size_t end = 0;
	size_t word = 0;
	pg_wchar before = 0;

	/* "end" is the last place to cut that leaves room for the ellipsis */
	for (int chars = 0; i < len; chars++)
	{
		int n = pg_utf_mblen((const unsigned char *) text + i);
		pg_wchar c;

		if (i + n > len)
			break;
		c = utf8_to_unicode((const unsigned char *) text + i);
		if (chars < max && chars > 0 && !is_extender(c, before))
		{
			end = i;
			if (c == ' ' && chars > max - CLIP_WINDOW)
				word = i;
		}
		if (chars == max)
			return psprintf("%.*s\xE2\x80\xA6", (int) (word ? word : end), text);
		i += n;
		before = c;
	}
	return pnstrdup(text, i);
}

bool
rmsync_notion_can_link(const char *url)
{
	size_t len;

	if (url == NULL)
		return false;
	len = strlen(url);
	return (pg_strncasecmp(url, "http://", 7) == 0 ||
			pg_strncasecmp(url, "https://", 8) == 0 ||
			pg_strncasecmp(url, "mailto:", 7) == 0) &&
		   rmsync_utf16_length(url, len) <= NOTION_MAX_UNITS;
}

void
rmsync_notion_text_item(StringInfo buf, const char *text, size_t len,
						const char *link, int style)
{
	static const struct
	{
		int bit;
		const char *name;
	} styles[] = { { RMSYNC_RUN_BOLD, "bold" },
				   { RMSYNC_RUN_ITALIC, "italic" },
				   { RMSYNC_RUN_STRIKE, "strikethrough" },
				   { RMSYNC_RUN_UNDERLINE, "underline" },
				   { RMSYNC_RUN_CODE, "code" } };

	appendStringInfoString(buf, "{\"type\":\"text\",\"text\":{\"content\":");
	rmsync_json_stringn(buf, text, len);
	if (rmsync_notion_can_link(link))
	{
		appendStringInfoString(buf, ",\"link\":{\"url\":");
		rmsync_json_string(buf, link);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, '}');
	if (style != 0)
	{
		const char *comma = "";

		appendStringInfoString(buf, ",\"annotations\":{");
		for (int i = 0; i < lengthof(styles); i++)
		{
			if (style & styles[i].bit)
			{
				appendStringInfo(buf, "%s\"%s\":true", comma, styles[i].name);
				comma = ",";
			}
		}
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, '}');
}

void
rmsync_notion_rich_text(StringInfo buf, const char *text, const char *link,
						int style)
{
	size_t len = strlen(text);
	const char *comma = "";

	appendStringInfoChar(buf, '[');
	while (len > 0)
	{
		size_t n = rmsync_notion_cut(text, len, NOTION_MAX_UNITS);

		appendStringInfoString(buf, comma);
		rmsync_notion_text_item(buf, text, n, link, style);
		comma = ",";
		text += n;
		len -= n;
	}
	appendStringInfoChar(buf, ']');
}
