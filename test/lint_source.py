#!/usr/bin/env python3
"""Source checks that need to read, not to compile.

Called by test/lint with the files of the tree on stdin, one per line.  Prints
one line "ok - name" or "not ok - name" per check, details below a failure, and
exits with the number of failed checks.
"""

import fnmatch
import os
import re
import sys

MAX_FUNCTION_LINES = 100
MAX_FILE_LINES = 600

# Unsafe, not thread- or locale-safe, or unchecked; with what to use instead.
BANNED = {
    "sprintf": "snprintf or psprintf",
    "vsprintf": "vsnprintf",
    "strcpy": "strlcpy",
    "strcat": "strlcat or StringInfo",
    "atoi": "strtol with checks or pg_strtoint32",
    "atol": "strtol with checks",
    "sscanf": "a parser that checks ranges",
    "strtok": "strcspn or a list parser",
    "gmtime": "pg_gmtime",
    "localtime": "pg_localtime",
    "system": "nothing: a server process starts no programs",
    "popen": "nothing: a server process starts no programs",
    "sleep": "WaitLatch",
    "usleep": "WaitLatch",
    "pg_usleep": "WaitLatch",
    "malloc": "palloc",
    "strdup": "pstrdup",
    "setenv": "a setting",
}

# Includes upwards that are wanted: retry judges the outcome of a request, and
# http.h holds that outcome as plain data.
UPWARD_INCLUDES = {("retry", "http.h")}

# Where SPI may be used: the stores hold the SQL, intake.c reads transition
# tables inside its trigger.  Others may open and close the connection.
SPI_FILES = ("store*.c", "intake.c")
SPI_OPENERS = ("txn.c", "api*.c")


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def without_comments(text, strings=False):
    """Blanks C comments (and string contents), keeping line numbers."""

    def blank(match):
        token = match.group(0)
        if token.startswith("/"):
            return re.sub(r"[^\n]", " ", token)
        return '""' if strings and token.startswith('"') else token

    return re.sub(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
        blank,
        text,
        flags=re.S,
    )


def hits(path, text, pattern, message):
    """One complaint per line that matches."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = re.search(pattern, line)
        if match:
            what = match.group(1) if match.groups() else match.group(0)
            found.append("%s:%d: %s" % (path, number, message.replace("%", what)))
    return found


class Tree:
    def __init__(self, files):
        self.files = files
        self.c = self.match("src/*.c")
        self.h = self.match("src/*.h")
        self.sources = self.c + self.h
        self.code = {
            path: without_comments(read(path), strings=True) for path in self.sources
        }

    def match(self, *patterns):
        return [
            path
            for path in self.files
            for pattern in patterns
            if fnmatch.fnmatch(path, pattern)
            and path.count("/") == pattern.count("/")
        ]


# ------------------------------------------------------------------ layers


def layer_table():
    """Rows of the table "Layers" in src/README.md: (layer, [name patterns])."""
    rows = []
    for line in read("src/README.md").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) >= 2 and re.match(r"\d+\b", cells[0]):
            names = re.findall(r"`([^`]+)`", cells[1])
            rows.append((int(re.match(r"\d+", cells[0]).group(0)), names))
    return rows


def layer_of(name, rows):
    """Layer of a file; an exact name beats a pattern, a full name a stem."""
    stem = os.path.splitext(name)[0]
    for wanted in (name, stem):
        for layer, names in rows:
            if wanted in names:
                return layer
    for layer, names in rows:
        for pattern in names:
            if fnmatch.fnmatch(stem, pattern) or fnmatch.fnmatch(name, pattern):
                return layer
    return None


def check_layers(tree):
    rows = layer_table()
    if not rows:
        return ["src/README.md: no table of layers found"]
    bad = []
    for path in tree.sources:
        name = os.path.basename(path)
        layer = layer_of(name, rows)
        if layer is None:
            bad.append("%s: not in the table of layers in src/README.md" % path)
            continue
        for header in re.findall(r'^\s*#\s*include\s+"([^"/]+\.h)"', read(path), re.M):
            if not os.path.exists("src/" + header):
                continue  # PostgreSQL's, e.g. "postgres.h", "fmgr.h"
            below = layer_of(header, rows)
            if below is None or below <= layer and layer != 3:
                continue
            if (os.path.splitext(name)[0], header) in UPWARD_INCLUDES:
                continue
            # Targets know nothing of the services but the structs of http.h.
            if layer == 3 and (below in (0, 1, 3) or header == "http.h"):
                continue
            bad.append(
                "%s (layer %d) includes %s (layer %d)" % (path, layer, header, below)
            )
    return bad


def check_pure(tree):
    """Layer 1 has no SPI, curl, settings or shared memory."""
    rows = layer_table()
    bad = []
    pattern = r'#\s*include\s+["<](executor/spi\.h|curl/[^">]*|utils/guc\.h|storage/(?:lwlock|shmem|ipc|latch|proc)\.h)'
    for path in tree.sources:
        if layer_of(os.path.basename(path), rows) == 1:
            bad += hits(path, read(path), pattern, "a pure module includes %")
            bad += hits(
                path,
                tree.code[path],
                r"\b(GetCurrentTimestamp|gettimeofday|clock_gettime|time\s*\(NULL)",
                "a pure module reads the clock (%): take the time as an argument",
            )
    return bad


def check_curl(tree):
    return [
        complaint
        for path in tree.sources
        if not re.match(r"src/http(_\w+)?\.[ch]$", path) or path == "src/http.h"
        for complaint in hits(
            path, read(path), r"#\s*include\s+[<\"](curl/[^>\"]*)", "includes %: only http*.c may"
        )
    ]


def check_spi(tree):
    bad = []
    opening = r"SPI_(?:connect|finish|commit|rollback|start_transaction)"
    for path in tree.sources:
        name = os.path.basename(path)
        if any(fnmatch.fnmatch(name, pattern) for pattern in SPI_FILES):
            continue
        if any(fnmatch.fnmatch(name, pattern) for pattern in SPI_OPENERS):
            pattern = r"\b((?!%s)SPI_[a-z]\w*)\s*\(" % opening
        else:
            pattern = r"\b(SPI_[a-z]\w*)\s*\("
        bad += hits(path, tree.code[path], pattern, "% outside the stores")
    return bad


def check_versions(tree):
    return [
        complaint
        for path in tree.sources
        if path != "src/compat.h"
        for complaint in hits(
            path, tree.code[path], r"\b(PG_VERSION_NUM|PG_MAJORVERSION_NUM)\b", "% outside compat.h"
        )
    ]


def check_banned(tree):
    pattern = r"(?<![\w.>])(%s)\s*\(" % "|".join(BANNED)
    bad = []
    for path in tree.sources:
        for number, line in enumerate(tree.code[path].splitlines(), 1):
            for name in re.findall(pattern, line):
                bad.append("%s:%d: %s: use %s" % (path, number, name, BANNED[name]))
    return bad


def check_headers(tree):
    """Each file says what it is, each header guards itself."""
    bad = []
    for path in tree.sources:
        text = read(path)
        name = os.path.basename(path)
        if not text.startswith("/*") or name not in text[:400]:
            bad.append("%s: does not begin with a comment that names and explains it" % path)
        if path.endswith(".h"):
            guard = "RMSYNC_" + name.upper().replace(".", "_")
            if "#ifndef %s\n#define %s\n" % (guard, guard) not in text:
                bad.append("%s: include guard should be %s" % (path, guard))
        elif not re.search(r'^#include "postgres\.h"', text, re.M):
            bad.append("%s: does not include postgres.h first" % path)
    return bad


# ------------------------------------------------------------------- sizes


def check_sizes(tree):
    bad = []
    for path in tree.c + tree.match("test/module*/*.c"):
        lines = read(path).splitlines()
        if path.startswith("src/") and len(lines) > MAX_FILE_LINES:
            bad.append("%s: %d lines, at most %d allowed" % (path, len(lines), MAX_FILE_LINES))
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start - 1 > MAX_FUNCTION_LINES:
                    bad.append(
                        "%s:%d: %d lines, at most %d allowed: %s"
                        % (path, start, number - start - 1, MAX_FUNCTION_LINES, lines[start - 2])
                    )
                start = None
    return bad


# ------------------------------------------------------------ SQL and tests


def check_pairs(tree):
    """Every SQL test has an expected output and the other way round."""
    bad = []
    tests = {os.path.basename(p)[:-4] for p in tree.match("test/sql/*.sql")}
    outs = {os.path.basename(p)[:-4] for p in tree.match("expected/*.out")}
    outs = {out for out in outs if not (re.search(r"_\d$", out) and out[:-2] in tests)}
    bad += ["test/sql/%s.sql: no expected/%s.out" % (t, t) for t in sorted(tests - outs)]
    bad += ["expected/%s.out: no test/sql/%s.sql" % (o, o) for o in sorted(outs - tests)]
    specs = {os.path.basename(p)[:-5] for p in tree.match("test/isolation/specs/*.spec")}
    outs = {os.path.basename(p)[:-4] for p in tree.match("test/isolation/expected/*.out")}
    outs = {out for out in outs if not (re.search(r"_\d$", out) and out[:-2] in specs)}
    bad += ["test/isolation/specs/%s.spec: no expected output" % s for s in sorted(specs - outs)]
    bad += ["test/isolation/expected/%s.out: no spec" % o for o in sorted(outs - specs)]
    return bad


def check_stems(tree):
    """pg_regress prefers ./sql over test/sql: equal names run the wrong file."""
    parts = {os.path.basename(p)[:-4] for p in tree.match("sql/*.sql")}
    bad = []
    for path in tree.match("test/sql/*.sql"):
        if os.path.basename(path)[:-4] in parts:
            bad.append("%s: pg_regress would run the file of this name in sql/" % path)
    for path in tree.match("sql/*.sql"):
        if not re.match(r"(\d\d_|rmsync--)", os.path.basename(path)):
            bad.append("%s: parts of the extension are called NN_name.sql" % path)
    return bad


def sql_code(path):
    """SQL without comments and without the bodies of functions."""
    text = re.sub(r"--[^\n]*", "", read(path))
    return re.sub(r"(\$\w*\$).*?\1", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)


def check_sql_comments(tree):
    """What an administrator meets in \\d and \\df explains itself.

    test/sql/zz_catalog.sql asks the catalog for the same; this names the file.
    """
    bad = []
    defined, commented = {}, set()
    kinds = r"(TABLE|VIEW|MATERIALIZED\s+VIEW|FUNCTION|PROCEDURE|TYPE|SCHEMA)"
    for path in tree.match("sql/[0-9]*.sql"):
        text = sql_code(path)
        for match in re.finditer(
            r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:UNLOGGED\s+)?%s\s+([\w.\"]+)([^;]*)" % kinds, text, re.I
        ):
            name, rest = match.group(2).lower(), match.group(3)
            kind = match.group(1).upper()
            if kind == "TABLE" and re.match(r"\s+PARTITION\s+OF\b", rest, re.I):
                continue
            if kind in ("FUNCTION", "PROCEDURE") and name.startswith("rmsync."):
                continue  # internal: a comment in the source is enough
            defined.setdefault(name, path)
        for match in re.finditer(r"\bCOMMENT\s+ON\s+%s\s+([\w.\"]+)" % kinds, text, re.I):
            commented.add(match.group(2).lower())
    for name in sorted(set(defined) - commented):
        bad.append("%s: %s has no COMMENT" % (defined[name], name))
    return bad


def check_sql_safety(tree):
    """Rules every install script must keep (see the manual's extend.sgml)."""
    bad = []
    for path in tree.match("sql/[0-9]*.sql"):
        raw = sql_code(path)
        bad += hits(path, raw, r"(?i)\b(CREATE\s+OR\s+REPLACE)\b", "% in an install script")
        bad += hits(path, raw, r"(?i)\b(CREATE\s+ROLE|CREATE\s+USER)\b", "%: roles belong to the cluster")
        for match in re.finditer(r"(?is)\bCREATE\s+(?:FUNCTION|PROCEDURE)\s+([\w.]+).*?;", raw):
            statement = match.group(0)
            if re.search(r"(?i)\bSECURITY\s+DEFINER\b", statement) and not re.search(
                r"(?i)\bSET\s+search_path\b", statement
            ):
                bad.append("%s: %s is SECURITY DEFINER without SET search_path" % (path, match.group(1)))
    return bad


def check_versions_equal(tree):
    """control, META.json and CHANGELOG.md name one version."""
    match = re.search(r"default_version = '([^']+)'", read("rmsync.control"))
    if not match:
        return ["rmsync.control: no default_version"]
    version = match.group(1)
    bad = []
    if "META.json" in tree.files and '"version": "%s"' % version not in read("META.json"):
        bad.append("META.json: version is not %s" % version)
    if "CHANGELOG.md" in tree.files:
        first = re.search(r"^##+ \[?v?([\d.]+)", read("CHANGELOG.md"), re.M)
        if not first or first.group(1) != version:
            bad.append("CHANGELOG.md: newest entry is not %s" % version)
    return bad


# -------------------------------------------------------------- every file


def text_files(tree):
    for path in tree.files:
        if os.path.splitext(path)[1] in (".png", ".gif", ".jpg", ".gz", ".pem", ".woff2"):
            continue
        with open(path, "rb") as file:
            data = file.read()
        if b"\0" not in data:
            yield path, data.decode("utf-8", errors="replace")


def check_whitespace(tree):
    bad = []
    for path, text in text_files(tree):
        if path.endswith((".out", ".diff", ".patch")):
            continue  # psql pads its output
        bad += hits(path, text, r"[ \t]+$", "trailing white space")
        bad += hits(path, text, r"\r", "carriage return")
        if text and not text.endswith("\n"):
            bad.append("%s: no newline at the end" % path)
    return bad


def check_words(tree):
    """Things that belong to one machine, or to nobody."""
    # Assembled, so that this file does not find itself.
    later = "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX"))
    paths = "|".join(("work", "root", "home/[a-z]+", "Users/[A-Za-z]+"))
    bad = []
    for path, text in text_files(tree):
        bad += hits(
            path,
            text,
            r"(?<![\w./~$}:-])(/(?:%s)/)" % paths,
            "% is a path of one machine",
        )
        if path.endswith((".t", ".pl", ".pm")):
            continue  # TAP has a meaning for one of the words
        bad += hits(path, text, r"\b(%s)\b(?!.*#\d)" % later, "% without the number of an issue")
    return bad


def check_python(tree):
    bad = []
    for path in tree.files:
        if path.endswith(".py"):
            try:
                compile(read(path), path, "exec")
            except SyntaxError as error:
                bad.append(str(error))
    try:
        from pyflakes import api, reporter
    except ImportError:
        return bad
    import io

    out = io.StringIO()
    for path in tree.files:
        if path.endswith(".py"):
            api.checkPath(path, reporter.Reporter(out, out))
    return bad + out.getvalue().splitlines()


def check_perl(tree):
    """Every TAP test counts: strict, warnings, and an end that is checked."""
    bad = []
    for path in tree.match("test/t/*.pl", "test/perl/*.pm"):
        text = read(path)
        if not re.search(r"\buse strict;", text) or not re.search(r"\buse warnings\b", text):
            bad.append("%s: use strict and use warnings" % path)
        if path.endswith(".pl") and not re.search(r"done_testing|tests\s*=>|skip_all", text):
            bad.append("%s: no plan and no done_testing()" % path)
        if path.endswith(".pl"):
            bad += hits(path, text, r"^\s*(sleep)\b", "%: wait for a condition, not for time")
    return bad


def check_scripts(tree):
    """A program begins with a comment (or docstring) that says what it does."""
    bad = []
    for path in tree.files:
        lines = read(path).splitlines()[:4]
        if lines and lines[0].startswith("#!"):
            if not os.access(path, os.X_OK):
                bad.append("%s: has a #! line and is not executable" % path)
            if not any(re.match(r'(#(?!!)\s*\w|r?"""|//|/\*)', line) for line in lines[1:]):
                bad.append("%s: does not begin with a comment that says what it does" % path)
    return bad


CHECKS = (
    ("files include only lower layers", check_layers),
    ("pure modules stay pure", check_pure),
    ("only http*.c include curl", check_curl),
    ("only the stores hold SQL", check_spi),
    ("only compat.h tests the PostgreSQL version", check_versions),
    ("no banned function", check_banned),
    ("C files explain themselves and guard their headers", check_headers),
    ("functions have at most %d lines, files %d" % (MAX_FUNCTION_LINES, MAX_FILE_LINES), check_sizes),
    ("tests and expected outputs are pairs", check_pairs),
    ("no SQL test hides behind a part of the extension", check_stems),
    ("public SQL objects have comments", check_sql_comments),
    ("install script is safe to run", check_sql_safety),
    ("one version everywhere", check_versions_equal),
    ("white space", check_whitespace),
    ("no machine paths, no unowned notes", check_words),
    ("Python compiles, pyflakes has no complaint", check_python),
    ("Perl tests are strict", check_perl),
    ("scripts say what they do", check_scripts),
)


def main():
    tree = Tree([line.rstrip("\n") for line in sys.stdin if line.strip()])
    failed = 0
    for name, check in CHECKS:
        complaints = check(tree)
        if complaints:
            failed += 1
            print("not ok - " + name)
            for complaint in complaints[:40]:
                print("    " + complaint)
            if len(complaints) > 40:
                print("    ... and %d more" % (len(complaints) - 40))
        else:
            print("ok - " + name)
    return failed


if __name__ == "__main__":
    sys.exit(main())
