package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"sluice/control/compile"
	"sluice/control/config"
	"sluice/proxy/auth/consumer"
)

type keysCommand struct {
	New      newKeyCommand   `cmd:"" help:"Make an API key, and print it with its hash."`
	Hash     hashKeyCommand  `cmd:"" help:"Read an API key from standard input, and print its hash."`
	Password passwordCommand `cmd:"" help:"Read a password from standard input, and print its hash."`
}

func (keysCommand) Help() string {
	return example("The configuration has what keys and passwords hash to, and never what a client shows.", "sluice keys new --prefix sk_acme")
}

// pepperFlag is shared by what hashes keys.
type pepperFlag struct {
	Pepper string `placeholder:"FILE" help:"The file with the secret of api_key's pepper, if there is one: the hash is an HMAC then."`
}

type newKeyCommand struct {
	Prefix string `default:"sk" placeholder:"TEXT" help:"What the key begins with, to tell keys apart (${default})."`
	pepperFlag
}

func (newKeyCommand) Help() string {
	return example("The key, of 256 random bits, is printed once and kept nowhere: it is for the client. The second line goes into the keys of a consumer.",
		"sluice keys new --prefix sk_acme\nsluice keys new --prefix sk_acme --pepper /etc/sluice/pepper")
}

func (c *newKeyCommand) Run(t *terminal) error {
	if why := config.CheckKeyPrefix(c.Prefix); why != "" {
		return errors.New("--prefix " + why)
	}
	key := consumer.NewKey(c.Prefix)
	hash, err := c.hash(key)
	if err != nil {
		return err
	}
	return t.write(fmt.Sprintf("%s\n- { hash: %q, prefix: %s }\n", key, hash, c.Prefix))
}

// hash returns what the configuration has in the place of a key.
func (p pepperFlag) hash(key string) (string, error) {
	if p.Pepper == "" {
		return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(key))), nil
	}
	f, err := os.Open(p.Pepper)
	if err != nil {
		return "", fmt.Errorf("cannot read the pepper: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, config.SecretFileBytesMax+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the pepper: %w", err)
	}
	if len(text) > config.SecretFileBytesMax {
		return "", fmt.Errorf("the file of the pepper is longer than %d bytes, which no configuration reads", config.SecretFileBytesMax)
	}
	pepper := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r") // as ${file:...} does
	if len(pepper) < config.PepperBytesMin {
		return "", fmt.Errorf("the pepper is shorter than %d bytes, which no configuration may have", config.PepperBytesMin)
	}
	h := hmac.New(sha256.New, []byte(pepper))
	h.Write([]byte(key))
	return fmt.Sprintf("hmac-sha256:%x", h.Sum(nil)), nil
}

type hashKeyCommand struct {
	pepperFlag
}

func (hashKeyCommand) Help() string {
	return example("For a key that another gateway has handed out. It has to be as random as one of keys new: this hash does not protect what somebody has thought up.",
		"sluice keys hash < key.txt")
}

func (c *hashKeyCommand) Run(t *terminal) error {
	key, err := readSecret(t, "Key: ", consumer.KeyBytesMax)
	if err != nil {
		return err
	}
	if len(key) < 16 {
		t.note("The key is short: whoever gets hold of the hash will find it by trying. sluice keys new makes better ones.")
	}
	hash, err := c.hash(key)
	if err != nil {
		return err
	}
	return t.write(hash + "\n")
}

type passwordCommand struct{}

func (passwordCommand) Help() string {
	return example("The hash goes into the passwords of a consumer; quote it there. It is argon2id, at a cost of 19 MiB and some 20 ms for each password that "+
		"the gateway has not seen in the last minutes.", "sluice keys password\nsluice keys password < password.txt")
}

func (*passwordCommand) Run(t *terminal) error {
	password, err := readSecret(t, "Password: ", compile.PasswordBytesMax)
	if err != nil {
		return err
	}
	if len(password) < compile.PasswordBytesMin {
		return fmt.Errorf("a password has at least %d characters", compile.PasswordBytesMin)
	}
	var salt [16]byte
	rand.Read(salt[:]) // it never fails: see crypto/rand.Read
	return t.write(consumer.NewArgon2([]byte(password), salt[:]).String() + "\n")
}

// readSecret reads a line of at most so many bytes: the gateway would not accept a longer one. A terminal does not show what is typed.
func readSecret(t *terminal, prompt string, bytesMax int) (string, error) {
	var text []byte
	var err error
	if isTerminal(os.Stdin) {
		_, _ = fmt.Fprint(t.err, prompt) // there is nobody to tell if that fails
		text, err = term.ReadPassword(int(os.Stdin.Fd()))
		t.note("")
	} else {
		text, err = bufio.NewReader(io.LimitReader(os.Stdin, int64(bytesMax)+2)).ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			err = nil // a last line without an end is one
		}
	}
	if err != nil {
		return "", fmt.Errorf("cannot read from standard input: %w", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	switch {
	case secret == "":
		return "", errors.New("standard input is empty")
	case len(secret) > bytesMax:
		return "", fmt.Errorf("it is longer than %d bytes", bytesMax)
	case strings.ContainsFunc(secret, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return "", errors.New("it holds a control character, which no request can")
	}
	return secret, nil
}
