/*-------------------------------------------------------------------------
 *
 * fernet.c
 *	  Fernet tokens and the derivation of a user's key.
 *
 * Called by credentials.c only.  Pure: cipher, MAC, time and initialization
 * vector are the caller's.  It must never put a key, a plaintext or a part of
 * them into an error, and leaves none of them on its stack or in its palloc'd
 * scratch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fernet.h"
#include "fingerprint.h"

#define VERSION 0x80
#define BLOCK 16
#define HEADER_LEN (1 + 8 + RMSYNC_FERNET_IV_LEN)
#define OVERHEAD (HEADER_LEN + RMSYNC_FERNET_MAC_LEN)

/* Far more than any configuration; keeps sizes away from palloc's limit. */
#define MAX_TOKEN_LEN (64 * 1024 * 1024)

/* ---- base64 ---- */

/*
 * Value of a base64 digit, -1 if it is none.  Both alphabets are read, as
 * Python's urlsafe_b64decode does; only the urlsafe one is written.
 */
static int
b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-' || c == '+')
		return 62;
	if (c == '_' || c == '/')
		return 63;
	return -1;
}

/*
 * Decodes "len" characters, padding required, into "out" (room for len / 4 *
 * 3 bytes).  Returns the number of bytes, -1 if it is not base64.
 */
static int
b64_decode(const char *in, size_t len, uint8 *out)
{
	int nbytes = 0;
	uint32 group = 0;
	size_t ndigits = len;

	if (len == 0 || len % 4 != 0)
		return -1;
	while (ndigits > len - 2 && in[ndigits - 1] == '=')
		ndigits--;

	for (size_t i = 0; i < len; i++)
	{
		int value = i < ndigits ? b64_value(in[i]) : 0;

		if (value < 0)
			return -1;
		group = group << 6 | (uint32) value;
		if (i % 4 == 3)
		{
			/* Padding stands for bytes that are not there. */
			int missing = i == len - 1 ? (int) (len - ndigits) : 0;

			out[nbytes++] = (uint8) (group >> 16);
			if (missing < 2)
				out[nbytes++] = (uint8) (group >> 8);
			if (missing < 1)
				out[nbytes++] = (uint8) group;
			group = 0;
		}
	}
	return nbytes;
}

/* Encodes with padding; palloc'd and NUL-terminated. */
static char *
b64_encode(const uint8 *in, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
								 "abcdefghijklmnopqrstuvwxyz0123456789-_";
	char *out = palloc((len + 2) / 3 * 4 + 1);
	char *p = out;

	for (size_t i = 0; i < len; i += 3)
	{
		size_t left = len - i;
		uint32 group = (uint32) in[i] << 16;

		if (left > 1)
			group |= (uint32) in[i + 1] << 8;
		if (left > 2)
			group |= in[i + 2];
		*p++ = digits[group >> 18];
		*p++ = digits[group >> 12 & 0x3f];
		*p++ = left > 1 ? digits[group >> 6 & 0x3f] : '=';
		*p++ = left > 2 ? digits[group & 0x3f] : '=';
	}
	*p = '\0';
	return out;
}

/* ---- keys ---- */

/*
 * Reads a master key: "len" characters that are base64 of 32 bytes.  Returns
 * false, with *master wiped, if they are not.
 */
bool
rmsync_fernet_parse_master(const char *text, size_t len, RmsyncMasterKey *master)
{
	uint8 raw[33];
	bool ok = false;

	explicit_bzero(master, sizeof(*master));
	if (len != sizeof(master->text) - 1)
		return false;
	if (b64_decode(text, len, raw) == sizeof(master->raw))
	{
		memcpy(master->text, text, len);
		memcpy(master->raw, raw, sizeof(master->raw));
		ok = true;
	}
	explicit_bzero(raw, sizeof(raw));
	return ok;
}

/* The first half of a Fernet key signs, the second encrypts. */
static void
set_key(RmsyncFernetKey *key, uint8 *digest)
{
	memcpy(key->sign, digest, sizeof(key->sign));
	memcpy(key->aes, digest + sizeof(key->sign), sizeof(key->aes));
	explicit_bzero(digest, 2 * RMSYNC_FERNET_HALF_KEY);
}

/*
 * Architecture document 3.1: SHA-256 of "MASTER:HASH", where MASTER is the
 * key as written and HASH the hex SHA-256 of "user_ID".
 */
void
rmsync_fernet_derive_document(const RmsyncMasterKey *master, int64 user_id,
							  RmsyncFernetKey *key)
{
	uint8 digest[32];
	char user[32];
	char material[sizeof(master->text) + 1 + RMSYNC_HASH_LEN + 1];
	size_t len = strlen(master->text);

	snprintf(user, sizeof(user), "user_" INT64_FORMAT, user_id);
	memcpy(material, master->text, len);
	material[len++] = ':';
	rmsync_sha256_hex(user, strlen(user), material + len);
	rmsync_sha256(material, len + RMSYNC_HASH_LEN, digest);
	set_key(key, digest);
	explicit_bzero(material, sizeof(material));
}

/*
 * The host's encryption code: SHA-256 of the second half of the decoded key
 * and "user_ID_salt".  It takes that half because it reads the private AES key
 * of Python's Fernet object.
 */
void
rmsync_fernet_derive_rmirror(const RmsyncMasterKey *master, int64 user_id,
							 RmsyncFernetKey *key)
{
	const int half = sizeof(master->raw) / 2;
	uint8 digest[32];
	uint8 material[64];
	int len;

	memcpy(material, master->raw + half, half);
	len = snprintf((char *) material + half, sizeof(material) - half,
				   "user_" INT64_FORMAT "_salt", user_id);
	rmsync_sha256(material, half + len, digest);
	set_key(key, digest);
	explicit_bzero(material, sizeof(material));
}

/* ---- tokens ---- */

/* Compares MACs in a time that does not tell where they differ. */
static bool
mac_equal(const uint8 *a, const uint8 *b)
{
	volatile uint8 difference = 0;

	for (int i = 0; i < RMSYNC_FERNET_MAC_LEN; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

/*
 * Encrypts "len" bytes and signs the result.  "iv" must never be used twice
 * with a key.  Returns the token, palloc'd.
 */
char *
rmsync_fernet_seal(const RmsyncCrypto *crypto, const RmsyncFernetKey *key,
				   const uint8 *iv, uint64 unix_time, const char *plain,
				   size_t len)
{
	size_t padding = BLOCK - len % BLOCK;
	size_t padded_len = len + padding;
	uint8 *padded;
	uint8 *raw;
	char *token;

	if (len > MAX_TOKEN_LEN / 2)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("text to encrypt is too long")));

	padded = palloc(padded_len);
	memcpy(padded, plain, len);
	memset(padded + len, (int) padding, padding);

	raw = palloc(OVERHEAD + padded_len);
	raw[0] = VERSION;
	for (int i = 0; i < 8; i++)
		raw[1 + i] = (uint8) (unix_time >> (56 - 8 * i));
	memcpy(raw + 9, iv, RMSYNC_FERNET_IV_LEN);
	crypto->aes(true, key->aes, iv, padded, padded_len, raw + HEADER_LEN);
	crypto->mac(key->sign, sizeof(key->sign), raw, HEADER_LEN + padded_len,
				raw + HEADER_LEN + padded_len);

	explicit_bzero(padded, padded_len);
	pfree(padded);
	token = b64_encode(raw, OVERHEAD + padded_len);
	pfree(raw);
	return token;
}

/*
 * Decodes a token, so that many keys can be tried on it.  White space around
 * it is ignored.  Returns NULL if it cannot be one, whatever the key.
 */
uint8 *
rmsync_fernet_decode(const char *token, size_t *len)
{
	size_t token_len;
	uint8 *raw;
	int raw_len;

	while (*token == ' ' || *token == '\n' || *token == '\r' || *token == '\t')
		token++;
	token_len = strlen(token);
	while (token_len > 0 && strchr(" \n\r\t", token[token_len - 1]) != NULL)
		token_len--;
	if (token_len == 0 || token_len > MAX_TOKEN_LEN)
		return NULL;

	raw = palloc(token_len / 4 * 3 + 3);
	raw_len = b64_decode(token, token_len, raw);
	if (raw_len < OVERHEAD + BLOCK || (raw_len - OVERHEAD) % BLOCK != 0 ||
		raw[0] != VERSION)
	{
		pfree(raw);
		return NULL;
	}
	*len = (size_t) raw_len;
	return raw;
}

/* Length of what precedes the PKCS#7 padding, -1 if that is damaged. */
static int64
unpadded_len(const uint8 *padded, size_t len)
{
	int padding = padded[len - 1];

	if (padding < 1 || padding > BLOCK)
		return -1;
	for (int i = 1; i <= padding; i++)
	{
		if (padded[len - i] != padding)
			return -1;
	}
	return (int64) len - padding;
}

/*
 * Checks a decoded token with a key and decrypts it.
 *
 * The MAC comes first, so that only text made with this key is ever
 * decrypted.  The time in the token is not looked at: credentials do not
 * expire by age.
 */
char *
rmsync_fernet_open(const RmsyncCrypto *crypto, const RmsyncFernetKey *key,
				   const uint8 *raw, size_t len, size_t *plain_len)
{
	size_t signed_len = len - RMSYNC_FERNET_MAC_LEN;
	size_t padded_len = len - OVERHEAD;
	uint8 mac[RMSYNC_FERNET_MAC_LEN];
	uint8 *plain;
	int64 result_len;

	Assert(len >= OVERHEAD + BLOCK && padded_len % BLOCK == 0);

	crypto->mac(key->sign, sizeof(key->sign), raw, signed_len, mac);
	if (!mac_equal(mac, raw + signed_len))
		return NULL;

	plain = palloc(padded_len + 1);
	crypto->aes(false, key->aes, raw + 9, raw + HEADER_LEN, padded_len, plain);
	result_len = unpadded_len(plain, padded_len);
	if (result_len < 0)
	{
		explicit_bzero(plain, padded_len);
		pfree(plain);
		return NULL;
	}
	explicit_bzero(plain + result_len, padded_len - result_len);
	plain[result_len] = '\0';
	*plain_len = (size_t) result_len;
	return (char *) plain;
}
