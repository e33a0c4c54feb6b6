/*-------------------------------------------------------------------------
 *
 * credentials.c
 *	  Master keys, and encryption with pgcrypto's primitives.
 *
 * Called by the stores (configurations of lanes), by key rotation and by the
 * SQL functions in api_credentials.c.
 *
 * Master keys are read anew for every call and wiped after it: a change of
 * the file needs no reload, and no key stays in memory.  pgcrypto's functions
 * are called through fmgr, with keys as arguments in memory: no key may ever
 * be part of an SQL text, a log line or an error.  Errors do not name the key
 * file either, as its setting is hidden from ordinary users who may see them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "compat.h"
#include "credentials.h"
#include "fernet.h"
#include "guc.h"
#include "secret_file.h"

#define MAX_MASTER_KEYS 16

#define ENVIRONMENT_KEY "INTEGRATION_MASTER_KEY"

/* Master keys in order: the first encrypts, all decrypt.  Lives on a stack. */
typedef struct KeyRing
{
	int nkeys;
	RmsyncMasterKey keys[MAX_MASTER_KEYS];
} KeyRing;

/* Functions of pgcrypto; looked up again when pg_proc changes. */
static struct
{
	bool valid;
	bool registered;
	Oid encrypt_iv;
	Oid decrypt_iv;
	Oid hmac;
	Oid gen_random_bytes;
} pgcrypto;

/* ---- pgcrypto through fmgr ---- */

static void
forget_pgcrypto(Datum arg, int cacheid, uint32 hashvalue)
{
	pgcrypto.valid = false;
}

/*
 * Finds a function of pgcrypto by name and argument types.
 *
 * It must be a member of the extension, so that a function of the same name
 * in somebody's search_path is never called, and in C: the owner of the
 * extension, who need not be a superuser, can add members but not C code.
 */
static Oid
find_member(Oid extension, const char *name, int nargs, const Oid *argtypes)
{
	CatCList *list;
	Oid result = InvalidOid;

	list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	for (int i = 0; i < list->n_members && !OidIsValid(result); i++)
	{
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (proc->prolang == ClanguageId && proc->pronargs == nargs &&
			memcmp(proc->proargtypes.values, argtypes, nargs * sizeof(Oid)) == 0 &&
			getExtensionOfObject(ProcedureRelationId, proc->oid) == extension)
			result = proc->oid;
	}
	ReleaseSysCacheList(list);

	if (!OidIsValid(result))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("extension \"pgcrypto\" has no function \"%s\" "
							   "of the expected form",
							   name)));
	return result;
}

/* Makes sure the OIDs in "pgcrypto" are current.  Needs a transaction. */
static void
resolve_pgcrypto(void)
{
	static const Oid cipher_args[] = { BYTEAOID, BYTEAOID, BYTEAOID, TEXTOID };
	static const Oid hmac_args[] = { BYTEAOID, BYTEAOID, TEXTOID };
	static const Oid random_args[] = { INT4OID };
	Oid extension;

	if (!pgcrypto.registered)
	{
		CacheRegisterSyscacheCallback(PROCOID, forget_pgcrypto, (Datum) 0);
		pgcrypto.registered = true;
	}
	if (pgcrypto.valid)
		return;

	extension = get_extension_oid("pgcrypto", true);
	if (!OidIsValid(extension))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("extension \"pgcrypto\" is not installed")));

	/* Before the look-ups: an invalidation during them must not be lost. */
	pgcrypto.valid = true;
	PG_TRY();
	{
		pgcrypto.encrypt_iv =
			find_member(extension, "encrypt_iv", 4, cipher_args);
		pgcrypto.decrypt_iv =
			find_member(extension, "decrypt_iv", 4, cipher_args);
		pgcrypto.hmac = find_member(extension, "hmac", 3, hmac_args);
		pgcrypto.gen_random_bytes =
			find_member(extension, "gen_random_bytes", 1, random_args);
	}
	PG_CATCH();
	{
		pgcrypto.valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static bytea *
make_bytea(const uint8 *data, size_t len)
{
	bytea *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), data, len);
	return result;
}

static void
wipe_bytea(bytea *value)
{
	explicit_bzero(VARDATA(value), VARSIZE(value) - VARHDRSZ);
	pfree(value);
}

/* Copies a result of exactly "len" bytes to "out" and wipes it. */
static void
take_result(Datum result, uint8 *out, size_t len)
{
	bytea *value = DatumGetByteaP(result);

	if (VARSIZE(value) - VARHDRSZ != len)
		elog(ERROR, "unexpected length of a result of pgcrypto");
	memcpy(out, VARDATA(value), len);
	wipe_bytea(value);
}

/* RmsyncCrypto.aes */
static void
pgcrypto_aes(bool encrypt, const uint8 *key, const uint8 *iv, const uint8 *in,
			 size_t len, uint8 *out)
{
	bytea *in_arg;
	bytea *key_arg;
	Datum result;

	resolve_pgcrypto();
	in_arg = make_bytea(in, len);
	key_arg = make_bytea(key, RMSYNC_FERNET_HALF_KEY);

	/*
	 * Padding is done in fernet.c: pgcrypto raises an error for damaged
	 * padding, which is nothing but a token that does not open.
	 */
	result =
		OidFunctionCall4(encrypt ? pgcrypto.encrypt_iv : pgcrypto.decrypt_iv,
						 PointerGetDatum(in_arg), PointerGetDatum(key_arg),
						 PointerGetDatum(make_bytea(iv, RMSYNC_FERNET_IV_LEN)),
						 PointerGetDatum(cstring_to_text("aes-cbc/pad:none")));
	wipe_bytea(key_arg);
	wipe_bytea(in_arg);
	take_result(result, out, len);
}

/* RmsyncCrypto.mac */
static void
pgcrypto_mac(const uint8 *key, size_t key_len, const uint8 *in, size_t len,
			 uint8 *out)
{
	bytea *in_arg;
	bytea *key_arg;
	Datum result;

	resolve_pgcrypto();
	in_arg = make_bytea(in, len);
	key_arg = make_bytea(key, key_len);
	result = OidFunctionCall3(pgcrypto.hmac, PointerGetDatum(in_arg),
							  PointerGetDatum(key_arg),
							  PointerGetDatum(cstring_to_text("sha256")));
	wipe_bytea(key_arg);
	pfree(in_arg);
	take_result(result, out, RMSYNC_FERNET_MAC_LEN);
}

static const RmsyncCrypto pgcrypto_primitives = {
	.aes = pgcrypto_aes,
	.mac = pgcrypto_mac,
};

/* ---- master keys ---- */

/*
 * Reads keys, one per line; blank lines and lines that begin with # count for
 * nothing.  "source" names where the text is from in messages.
 */
static bool
parse_keys(KeyRing *ring, const char *text, int len, const char *source,
		   RmsyncFileProblem *problem)
{
	const char *end = text + len;
	int line = 0;

	problem->hint = "A key is 44 characters of base64, as made by Python's "
					"Fernet.generate_key() or by "
					"\"openssl rand -base64 32 | tr +/ -_\".";
	while (text < end)
	{
		const char *eol = memchr(text, '\n', end - text);
		const char *next = eol ? eol + 1 : end;
		const char *last = eol ? eol : end;

		line++;
		while (text < last && isspace((unsigned char) *text))
			text++;
		while (last > text && isspace((unsigned char) last[-1]))
			last--;
		if (text < last && *text != '#')
		{
			if (ring->nkeys == MAX_MASTER_KEYS)
			{
				problem->detail = psprintf("There are more than %d keys in %s.",
										   MAX_MASTER_KEYS, source);
				return false;
			}
			if (!rmsync_fernet_parse_master(text, last - text,
											&ring->keys[ring->nkeys]))
			{
				problem->detail =
					psprintf("Line %d of %s is not a Fernet key.", line, source);
				return false;
			}
			ring->nkeys++;
		}
		text = next;
	}
	if (ring->nkeys == 0)
		problem->detail = psprintf("There is no key in %s.", source);
	return ring->nkeys > 0;
}

/*
 * Loads the master keys: from the file if one is set, else from the server's
 * environment.  Returns false with *problem set if there is no usable key; in
 * either case the caller must wipe *ring.
 */
static bool
load_keys(KeyRing *ring, RmsyncFileProblem *problem)
{
	char buf[RMSYNC_MAX_SECRET_FILE];
	const char *environment = getenv(ENVIRONMENT_KEY);
	bool ok = false;
	int len;

	ring->nkeys = 0;
	if (rmsync_master_key_file != NULL && rmsync_master_key_file[0] != '\0')
	{
		len = rmsync_read_secret_file(rmsync_master_key_file, "master key file",
									  "rmsync.master_key_file", buf, problem);
		if (len >= 0)
			ok = parse_keys(ring, buf, len, "the master key file", problem);
		explicit_bzero(buf, sizeof(buf));
	}
	else if (environment != NULL && environment[0] != '\0')
		ok = parse_keys(ring, environment, (int) strlen(environment),
						"the environment variable " ENVIRONMENT_KEY, problem);
	else
	{
		problem->detail = pstrdup("No master key is configured.");
		problem->hint = "Set \"rmsync.master_key_file\" to a file with a "
						"Fernet key, or start the server with the environment "
						"variable " ENVIRONMENT_KEY ".";
	}
	return ok;
}

/* Loads the master keys or raises the reason why not. */
static void
require_keys(KeyRing *ring)
{
	RmsyncFileProblem problem = { 0 };

	if (load_keys(ring, &problem))
		return;
	explicit_bzero(ring, sizeof(*ring));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("credentials cannot be encrypted or decrypted"),
					errdetail_internal("%s", problem.detail),
					problem.hint ? errhint("%s", problem.hint) : 0));
}

/*
 * Is a usable master key configured?  If not, *why (unless "why" is NULL) is
 * a palloc'd sentence.  Raises nothing that a wrong configuration can cause;
 * needs no transaction.
 */
bool
rmsync_have_master_key(char **why)
{
	KeyRing ring;
	RmsyncFileProblem problem;
	bool ok = load_keys(&ring, &problem);

	explicit_bzero(&ring, sizeof(ring));
	if (!ok && why != NULL)
		*why = problem.hint ? psprintf("%s  %s", problem.detail, problem.hint)
							: problem.detail;
	return ok;
}

/* ---- tokens ---- */

/* Derives a user's key; the caller wipes it. */
static void
derive(const RmsyncMasterKey *master, RmsyncDerivation derivation,
	   int64 user_id, RmsyncFernetKey *key)
{
	if (derivation == RMSYNC_DERIVE_RMIRROR)
		rmsync_fernet_derive_rmirror(master, user_id, key);
	else
		rmsync_fernet_derive_document(master, user_id, key);
}

/* Derivation for new tokens, from the setting rmsync.key_derivation. */
static RmsyncDerivation
configured_derivation(void)
{
	if (rmsync_key_derivation != NULL &&
		strcmp(rmsync_key_derivation, "rmirror") == 0)
		return RMSYNC_DERIVE_RMIRROR;
	return RMSYNC_DERIVE_DOCUMENT;
}

/*
 * Encrypts "plain" (in the server's encoding) for a user with the first master
 * key and the configured derivation.  Returns the token, palloc'd.  Needs a
 * transaction.  Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if there is
 * no usable key.
 */
char *
rmsync_encrypt(int64 user_id, const char *plain)
{
	KeyRing ring;
	RmsyncFernetKey key;
	uint8 iv[RMSYNC_FERNET_IV_LEN];
	char *volatile token = NULL;
	char *utf8 = pg_server_to_any(unconstify(char *, plain),
								  (int) strlen(plain), PG_UTF8);

	require_keys(&ring);
	PG_TRY();
	{
		resolve_pgcrypto();
		take_result(OidFunctionCall1(pgcrypto.gen_random_bytes,
									 Int32GetDatum(sizeof(iv))),
					iv, sizeof(iv));
		derive(&ring.keys[0], configured_derivation(), user_id, &key);
		token = rmsync_fernet_seal(&pgcrypto_primitives, &key, iv,
								   (uint64) time(NULL), utf8, strlen(utf8));
	}
	PG_FINALLY();
	{
		explicit_bzero(&key, sizeof(key));
		explicit_bzero(&ring, sizeof(ring));
		if (utf8 != plain)
			explicit_bzero(utf8, strlen(utf8));
	}
	PG_END_TRY();
	return token;
}

/* Opens a decoded token with one master key, in both derivations. */
static char *
open_with(const RmsyncMasterKey *master, int64 user_id, const uint8 *raw,
		  size_t raw_len, size_t *len)
{
	static const RmsyncDerivation derivations[] = { RMSYNC_DERIVE_DOCUMENT,
													RMSYNC_DERIVE_RMIRROR };
	char *plain = NULL;

	for (int i = 0; i < lengthof(derivations) && plain == NULL; i++)
	{
		RmsyncFernetKey key;

		derive(master, derivations[i], user_id, &key);
		plain = rmsync_fernet_open(&pgcrypto_primitives, &key, raw, raw_len, len);
		explicit_bzero(&key, sizeof(key));
	}
	return plain;
}

/*
 * Decrypts a token with any master key and either derivation.
 *
 * Returns the text in the server's encoding, palloc'd (the caller wipes it),
 * or NULL if no key opens the token or what it holds is not text.  Needs a
 * transaction.  Raises the same as rmsync_encrypt without a usable key: that
 * says nothing about the token.
 */
char *
rmsync_decrypt(int64 user_id, const char *token)
{
	KeyRing ring;
	char *volatile plain = NULL;
	char *result;
	size_t len = 0;
	size_t raw_len = 0;
	uint8 *raw;

	require_keys(&ring);
	PG_TRY();
	{
		raw = rmsync_fernet_decode(token, &raw_len);
		for (int i = 0; raw != NULL && i < ring.nkeys && plain == NULL; i++)
			plain = open_with(&ring.keys[i], user_id, raw, raw_len, &len);
	}
	PG_FINALLY();
	{
		explicit_bzero(&ring, sizeof(ring));
	}
	PG_END_TRY();

	if (plain == NULL)
		return NULL;
	if (!pg_verify_mbstr(PG_UTF8, plain, (int) len, true))
	{
		explicit_bzero(plain, len);
		return NULL;
	}
	result = pg_any_to_server(plain, (int) len, PG_UTF8);
	if (result != plain)
		explicit_bzero(plain, len);
	return result;
}
