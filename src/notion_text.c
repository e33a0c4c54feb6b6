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

/* Does this character belong to the one before it? */
static bool
is_extender(pg_wchar c, pg_wchar before)
{
	return (c >= 0x0300 && c <= 0x036F) || (c >= 0x0483 && c <= 0x0489) ||
		   (c >= 0x0591 && c <= 0x05C7) || (c >= 0x0610 && c <= 0x061A) ||
		   (c >= 0x064B && c <= 0x065F) || (c >= 0x0900 && c <= 0x0903) ||
		   (c >= 0x093A && c <= 0x094F && c != 0x093D) ||
		   (c >= 0x0E31 && c <= 0x0E3A && c != 0x0E32 && c != 0x0E33) ||
		   (c >= 0x0E47 && c <= 0x0E4E) || (c >= 0x1160 && c <= 0x11FF) ||
		   (c >= 0x1AB0 && c <= 0x1AFF) || (c >= 0x1DC0 && c <= 0x1DFF) ||
		   c == 0x200D || before == 0x200D || /* zero-width joiner */
		   (c >= 0x20D0 && c <= 0x20FF) || (c >= 0x3099 && c <= 0x309A) ||
		   (c >= 0xFE00 && c <= 0xFE0F) || /* variation selectors */
		   (c >= 0xFE20 && c <= 0xFE2F) ||
		   (c >= 0x1F3FB && c <= 0x1F3FF) || /* skin tones */
		   (c >= 0xE0020 && c <= 0xE01EF) || /* tags */
		   /* flags are pairs; in a row of them any cut may be in one */
		   (c >= 0x1F1E6 && c <= 0x1F1FF && before >= 0x1F1E6 &&
			before <= 0x1F1FF) ||
		   (c == '\n' && before == '\r');
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
