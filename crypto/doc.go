// Package crypto turns plaintext into records that show nothing and cannot be
// moved, and names into keys that cannot be read.
//
// One RootKey, 32 bytes from a key file, opens one sealed Keyring. The keyring
// holds a data key for each term, one of them active, and the key that signs
// checkpoints. From a term's data key a key for every purpose is derived; no key
// serves two. Everything sealed names its term, so that old records stay
// readable while a new term takes over.
//
// A record is bound to its place: who opens it says where he found it (Label),
// and a record that was altered, cut short, swapped with another or taken from
// another cluster opens as fault.Integrity and as nothing else. FORMAT.md draws
// the bytes, and testdata/vectors.json has examples to check another
// implementation against.
//
// Keys sit behind closures, as plaintexts do, so that no printer can show one.
package crypto
