/*-------------------------------------------------------------------------
 *
 * fernet.h
 *	  Fernet tokens and the derivation of a user's key.
 *
 * Format, encoding and key derivation only.  The cipher and the MAC are given
 * by the caller, who also brings the time and the initialization vector.
 *
 * Token = urlsafe base64 of
 *		0x80 | time, 8 bytes | IV, 16 bytes | AES-128-CBC/PKCS#7 | HMAC-SHA-256
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_FERNET_H
#define RMSYNC_FERNET_H

#define RMSYNC_FERNET_HALF_KEY 16
#define RMSYNC_FERNET_IV_LEN 16
#define RMSYNC_FERNET_MAC_LEN 32

/* A user's key.  Wipe it after use. */
typedef struct RmsyncFernetKey
{
	uint8		sign[RMSYNC_FERNET_HALF_KEY];
	uint8		aes[RMSYNC_FERNET_HALF_KEY];
} RmsyncFernetKey;

/* A master key as configured.  Wipe it after use. */
typedef struct RmsyncMasterKey
{
	char		text[45];		/* base64 as written, NUL-terminated: the
								 * document's derivation hashes this */
	uint8		raw[32];
} RmsyncMasterKey;

/*
 * The primitives.  Both may raise errors of their own.  AES-128-CBC works on
 * whole blocks, without padding; "out" has room for "len" bytes.
 */
typedef struct RmsyncCrypto
{
	void		(*aes) (bool encrypt, const uint8 *key, const uint8 *iv,
						const uint8 *in, size_t len, uint8 *out);
	void		(*mac) (const uint8 *key, size_t key_len,
						const uint8 *in, size_t len, uint8 *out);
} RmsyncCrypto;

/* Reads a Fernet key (44 characters of base64); false if it is none. */
extern bool rmsync_fernet_parse_master(const char *text, size_t len,
									   RmsyncMasterKey *master);

/* The key of one user, derived as the document says, or as the host does. */
extern void rmsync_fernet_derive_document(const RmsyncMasterKey *master,
										  int64 user_id, RmsyncFernetKey *key);
extern void rmsync_fernet_derive_rmirror(const RmsyncMasterKey *master,
										 int64 user_id, RmsyncFernetKey *key);

/* Encrypts; returns the token, palloc'd. */
extern char *rmsync_fernet_seal(const RmsyncCrypto *crypto,
								const RmsyncFernetKey *key, const uint8 *iv,
								uint64 unix_time,
								const char *plain, size_t len);

/*
 * Decodes a token's base64 into *len bytes, palloc'd; NULL if it is not
 * shaped like a Fernet token.
 */
extern uint8 *rmsync_fernet_decode(const char *token, size_t *len);

/*
 * Opens a decoded token; NULL if the key does not fit or the token was
 * changed.  Result palloc'd with a NUL behind its *plain_len bytes; the
 * caller wipes it.
 */
extern char *rmsync_fernet_open(const RmsyncCrypto *crypto,
								const RmsyncFernetKey *key,
								const uint8 *raw, size_t len,
								size_t *plain_len);

#endif							/* RMSYNC_FERNET_H */
