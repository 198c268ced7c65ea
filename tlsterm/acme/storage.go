package acme

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// fileBytesMax is far more than a chain and a key have.
	fileBytesMax = 1 << 20
	fileNameMax  = 200
)

// dir is the folder of the authority: its address, so that an operator knows it again, and two never share one.
func (o *Options) dir() string {
	return filepath.Join(o.Folder, url.PathEscape(strings.TrimPrefix(o.Directory, "https://")))
}

// File is where the certificate of a host is, with its chain and its key, once there is one.
func (o *Options) File(host string) string { return o.file(host, ".pem") }

// file is another one for each kind of key: a host may have both. No host has a plus sign in it.
func (o *Options) file(host, kind string) string {
	name := strings.ToLower(host)
	if o.RSA {
		name += "+rsa"
	}
	return filepath.Join(o.dir(), name+kind)
}

func (o *Options) accountFile() string {
	return filepath.Join(o.dir(), url.PathEscape(strings.ToLower(o.Email))+".account")
}

// readLeaf returns the certificate of a host and since when it is there, or fs.ErrNotExist. That its key belongs to it is for those to check who serve it.
func (o *Options) readLeaf(host string) (leaf *x509.Certificate, since time.Time, err error) {
	info, err := os.Stat(o.File(host))
	if err != nil {
		return nil, time.Time{}, err
	}
	data, err := readFile(o.File(host))
	if err != nil {
		return nil, time.Time{}, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, time.Time{}, fmt.Errorf("%s does not begin with a certificate", o.File(host))
	}
	leaf, err = x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", o.File(host), err)
	}
	if _, err := parseKey(data); err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", o.File(host), err)
	}
	return leaf, info.ModTime(), nil
}

// retry is the pause after orders that failed.
type retry struct {
	Failures int       `json:"failures"` // in a row
	Next     time.Time `json:"next"`
	Reason   string    `json:"reason"`
	Error    string    `json:"error"`
}

// readRetry returns the zero value if the last order succeeded, or if the file says nothing: then it is a minute that is lost.
func (o *Options) readRetry(host string) retry {
	var r retry
	if data, err := readFile(o.file(host, ".retry")); err != nil || json.Unmarshal(data, &r) != nil {
		return retry{}
	}
	return r
}

func (o *Options) writeRetry(host string, r retry) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(o.file(host, ".retry"), append(data, '\n'))
}

func (o *Options) clearRetry(host string) error {
	if err := os.Remove(o.file(host, ".retry")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func parseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("it holds no private key")
		}
		if block.Type != "PRIVATE KEY" {
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("its private key is damaged")
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, errors.New("its private key does not sign")
		}
		return signer, nil
	}
}

func appendKey(data []byte, key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(data, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err == nil && len(data) > fileBytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", name, fileBytesMax)
	}
	return data, err
}

// writeFile writes a file so that it holds the old content or the new, and that only we can read.
func writeFile(name string, data []byte) (err error) {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*") // 0600; the dot keeps it out of what is looked for
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one to report
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync() // or a crash of the machine undoes the rename
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
