package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// register returns the account, and makes it if the authority does not know it: it finds an account by its key, so that this is
// the only thing to keep of it (RFC 8555 section 7.3.1).
func (o *Options) register(ctx context.Context, client *acmez.Client) (acme.Account, error) {
	key, err := o.accountKey()
	if err != nil {
		return acme.Account{}, storageError{err}
	}
	account := acme.Account{Contact: []string{"mailto:" + o.Email}, TermsOfServiceAgreed: true, PrivateKey: key}
	if o.KeyID != "" {
		if err := account.SetExternalAccountBinding(ctx, client.Client, acme.EAB{KeyID: o.KeyID, MACKey: o.macKey()}); err != nil {
			return acme.Account{}, accountError{fmt.Errorf("cannot use the external account: %w", err)}
		}
	}
	account, err = client.NewAccount(ctx, account)
	if err != nil {
		return acme.Account{}, accountError{fmt.Errorf("cannot register the account %s: %w", o.Email, err)}
	}
	if account.Status != acme.StatusValid {
		return acme.Account{}, accountError{fmt.Errorf("the account %s is %s", o.Email, account.Status)}
	}
	return account, nil
}

// accountKey is called with the lock. A key that is damaged is an error, and not replaced: another account may not be allowed to
// do what this one is.
func (o *Options) accountKey() (crypto.Signer, error) {
	data, err := readFile(o.accountFile())
	if errors.Is(err, fs.ErrNotExist) {
		return o.makeAccountKey()
	}
	if err != nil {
		return nil, err
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to begin with a new account", o.accountFile(), err)
	}
	return key, nil
}

func (o *Options) makeAccountKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	data, err := appendKey(nil, key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(o.accountFile(), data)
}
