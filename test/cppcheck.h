/*
 * cppcheck.h
 *	  What cppcheck must know of PostgreSQL's macros; see test/lint.
 *
 * It reads no system headers, so without this it would not know that an
 * error report of level ERROR does not return.
 */
#define ERROR 21
#define FATAL 22
#define PANIC 23
#define WARNING 19
#define ereport(level, ...)   \
	do                        \
	{                         \
		if ((level) >= ERROR) \
			abort();          \
	} while (0)
#define elog(level, ...) ereport(level, 0)
#define Assert(condition)   \
	do                      \
	{                       \
		if (!(condition))   \
			abort();        \
	} while (0)
#define pg_unreachable() abort()
#define PG_FUNCTION_INFO_V1(function)
#define PG_TRY(...)
#define PG_CATCH(...)
#define PG_FINALLY(...)
#define PG_END_TRY(...)
