/*-------------------------------------------------------------------------
 *
 * markdown_entity.c
 *	  Character references of HTML, as Markdown allows them in text.
 *
 * Called by markdown.c below md4c's callbacks: allocates nothing and never
 * throws.  The named ones are those a person or an OCR model writes; any other
 * name stays as it is written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "markdown_source.h"
#include "mb/pg_wchar.h"

typedef struct Entity
{
	const char *name;
	pg_wchar code;
} Entity;

static const Entity entities[] = {
	{ "amp", '&' },		  { "lt", '<' },		{ "gt", '>' },
	{ "quot", '"' },	  { "apos", '\'' },		{ "nbsp", 0x00A0 },
	{ "iexcl", 0x00A1 },  { "cent", 0x00A2 },	{ "pound", 0x00A3 },
	{ "yen", 0x00A5 },	  { "sect", 0x00A7 },	{ "copy", 0x00A9 },
	{ "laquo", 0x00AB },  { "not", 0x00AC },	{ "shy", 0x00AD },
	{ "reg", 0x00AE },	  { "deg", 0x00B0 },	{ "plusmn", 0x00B1 },
	{ "sup2", 0x00B2 },	  { "sup3", 0x00B3 },	{ "micro", 0x00B5 },
	{ "para", 0x00B6 },	  { "middot", 0x00B7 }, { "raquo", 0x00BB },
	{ "frac14", 0x00BC }, { "frac12", 0x00BD }, { "frac34", 0x00BE },
	{ "iquest", 0x00BF }, { "Auml", 0x00C4 },	{ "Ouml", 0x00D6 },
	{ "times", 0x00D7 },  { "Uuml", 0x00DC },	{ "szlig", 0x00DF },
	{ "agrave", 0x00E0 }, { "aacute", 0x00E1 }, { "acirc", 0x00E2 },
	{ "auml", 0x00E4 },	  { "aring", 0x00E5 },	{ "aelig", 0x00E6 },
	{ "ccedil", 0x00E7 }, { "egrave", 0x00E8 }, { "eacute", 0x00E9 },
	{ "ecirc", 0x00EA },  { "euml", 0x00EB },	{ "iacute", 0x00ED },
	{ "ntilde", 0x00F1 }, { "oacute", 0x00F3 }, { "ocirc", 0x00F4 },
	{ "ouml", 0x00F6 },	  { "divide", 0x00F7 }, { "oslash", 0x00F8 },
	{ "uacute", 0x00FA }, { "uuml", 0x00FC },	{ "alpha", 0x03B1 },
	{ "beta", 0x03B2 },	  { "gamma", 0x03B3 },	{ "delta", 0x03B4 },
	{ "lambda", 0x03BB }, { "mu", 0x03BC },		{ "pi", 0x03C0 },
	{ "sigma", 0x03C3 },  { "omega", 0x03C9 },	{ "Delta", 0x0394 },
	{ "Sigma", 0x03A3 },  { "Omega", 0x03A9 },	{ "ensp", 0x2002 },
	{ "emsp", 0x2003 },	  { "thinsp", 0x2009 }, { "zwj", 0x200D },
	{ "ndash", 0x2013 },  { "mdash", 0x2014 },	{ "lsquo", 0x2018 },
	{ "rsquo", 0x2019 },  { "sbquo", 0x201A },	{ "ldquo", 0x201C },
	{ "rdquo", 0x201D },  { "bdquo", 0x201E },	{ "dagger", 0x2020 },
	{ "bull", 0x2022 },	  { "hellip", 0x2026 }, { "permil", 0x2030 },
	{ "prime", 0x2032 },  { "lsaquo", 0x2039 }, { "rsaquo", 0x203A },
	{ "euro", 0x20AC },	  { "trade", 0x2122 },	{ "larr", 0x2190 },
	{ "uarr", 0x2191 },	  { "rarr", 0x2192 },	{ "darr", 0x2193 },
	{ "harr", 0x2194 },	  { "crarr", 0x21B5 },	{ "lArr", 0x21D0 },
	{ "rArr", 0x21D2 },	  { "hArr", 0x21D4 },	{ "sum", 0x2211 },
	{ "minus", 0x2212 },  { "radic", 0x221A },	{ "infin", 0x221E },
	{ "asymp", 0x2248 },  { "ne", 0x2260 },		{ "le", 0x2264 },
	{ "ge", 0x2265 },	  { "hearts", 0x2665 }, { "check", 0x2713 },
};

static int
put_code(char *dst, pg_wchar code)
{
	if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		code = 0xFFFD;
	unicode_to_utf8(code, (unsigned char *) dst);
	return pg_utf_mblen((unsigned char *) dst);
}

int
rmsync_markdown_entity(char *dst, const char *src, size_t len)
{
	if (len < 3 || src[0] != '&' || src[len - 1] != ';')
		return 0;
	if (src[1] == '#')
	{
		bool hex = (src[2] == 'x' || src[2] == 'X');
		pg_wchar code = 0;

		for (size_t i = hex ? 3 : 2; i < len - 1; i++)
		{
			int digit;

			if (src[i] >= '0' && src[i] <= '9')
				digit = src[i] - '0';
			else if (hex && (src[i] | 0x20) >= 'a' && (src[i] | 0x20) <= 'f')
				digit = (src[i] | 0x20) - 'a' + 10;
			else
				return 0;
			if (code <= 0x10FFFF)
				code = code * (hex ? 16 : 10) + digit;
		}
		return put_code(dst, code);
	}
	for (int i = 0; i < lengthof(entities); i++)
	{
		const char *name = entities[i].name;

		if (strlen(name) == len - 2 && memcmp(name, src + 1, len - 2) == 0)
			return put_code(dst, entities[i].code);
	}
	return 0;
}
