package crypto

import (
	"golang.org/x/mod/sumdb/note"

	"github.com/heroctl/heroctl/schema/fault"
)

// Signer returns the cluster's Ed25519 signer for notes (C2SP signed-note) under
// the name origin, which has no space and no "+".
func (k *Keyring) Signer(origin string) (note.Signer, error) {
	v, err := k.Verifier(origin)
	if err != nil {
		return nil, err
	}
	return &signer{v.Name(), v.KeyHash(), k.sign}, nil
}

// Verifier returns the verifier of what Signer signs.
func (k *Keyring) Verifier(origin string) (note.Verifier, error) {
	text, err := note.NewEd25519VerifierKey(origin, k.public)
	if err != nil {
		return nil, badOrigin(err)
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, badOrigin(err)
	}
	return v, nil
}

// VerifierKey returns the public key as text, for note.NewVerifier: whoever holds
// it can check the cluster's checkpoints without any secret. It returns "" for a
// name that is no origin.
func (k *Keyring) VerifierKey(origin string) string {
	if _, err := k.Verifier(origin); err != nil {
		return ""
	}
	text, _ := note.NewEd25519VerifierKey(origin, k.public)
	return text
}

func badOrigin(err error) error {
	return fault.Wrap(fault.InvalidArgument, `an origin is not empty and has no space and no "+"`, err)
}

// signer is a note.Signer whose key cannot be printed.
type signer struct {
	name string
	hash uint32
	sign func(msg []byte) []byte
}

func (s *signer) Name() string                    { return s.name }
func (s *signer) KeyHash() uint32                 { return s.hash }
func (s *signer) Sign(msg []byte) ([]byte, error) { return s.sign(msg), nil }
