/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_ATTEMPTS_H
#define TRESOR_ATTEMPTS_H

/*
 * Back-off between wrong passphrases. There is no clock inside, so time is
 * spent by hashing: none for the first three failures in a row, then doubling
 * up to about 8 s (docs/decisions/0121). It counts per start of the enclave; a
 * host that restarts it starts anew, which is why the KDF stays the real cost.
 */

/* Before a passphrase is tried, by the heap's tenant: there is no second queue. */
void tresor_attempts_wait(void);
void tresor_attempts_failed(void);
void tresor_attempts_succeeded(void);

#endif
