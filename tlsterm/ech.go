package tlsterm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// ECH says how clients may hide which name they ask for (RFC 9849): they encrypt the ClientHello that counts, and send it inside one
// that asks for a public name, which all of them share.
//
// The keys are files in a folder, and not derived from a secret by time as those of tickets are. Whoever has such a secret reads the
// names out of all handshakes that were ever recorded; a key that was deleted opens nothing any more. The folder goes to all hosts
// behind a balancer the way their certificates go.
type ECH struct {
	PublicName string        // what an observer sees; a certificate of the set has to be for it
	Dir        string        // every NAME.ech is a key (RFC 9934); the last one in the order of their names is published
	Keep       time.Duration // how long a key decrypts after the next one has come
}

// ECHFile is a key in its folder.
type ECHFile struct {
	ECHKey
	File  string
	Since time.Time // when it was written
	Until time.Time // when it stops to decrypt; zero for the one that is published
	loose bool      // others than its owner and group may read it
}

// ECHSuffix ends the names of files that hold keys.
const ECHSuffix = ".ech"

// ECHKeysMax is how many keys a folder may hold. It bounds what a ClientHello costs: each key is tried, a multiplication on X25519, as is done for a handshake, until one
// opens it, and what somebody has made up is opened by none.
const ECHKeysMax = 8

func (o ECH) problems() (list []Problem) {
	wrong := func(err error) { list = append(list, Problem{Source: noSource, Part: PartECH, Err: err}) }
	if err := validPublicName(o.PublicName); err != nil {
		wrong(err)
	}
	if o.Dir == "" {
		wrong(errors.New("ECH needs a folder of keys"))
	}
	if o.Keep < 0 {
		wrong(fmt.Errorf("a former ECH key cannot be kept for %v", o.Keep))
	}
	return list
}

// Files returns the keys in the folder, the published one last. There may be none. An error is of the first that is wrong.
func (o ECH) Files() ([]ECHFile, error) {
	names, err := o.list()
	if err != nil {
		return nil, err
	}
	return o.read(names)
}

var errNoFolder = fmt.Errorf("%w: `sluice ech` makes the folder and a key", fs.ErrNotExist)

// list returns the files, in order. Its errors are faults.
func (o ECH) list() ([]string, error) {
	entries, err := os.ReadDir(o.Dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fault{o.Dir, errNoFolder}
	}
	if err != nil {
		return nil, unreadable(o.Dir, err)
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && name[0] != '.' && filepath.Ext(name) == ECHSuffix {
			names = append(names, filepath.Join(o.Dir, name))
		}
	}
	return names, nil
}

// read returns the keys of files. Its errors are faults.
func (o ECH) read(names []string) ([]ECHFile, error) {
	if len(names) > ECHKeysMax {
		return nil, &fault{o.Dir, fmt.Errorf("it holds %d ECH keys, and each ClientHello is tried with %d at most", len(names), ECHKeysMax)}
	}
	files := make([]ECHFile, 0, len(names))
	for _, name := range names {
		data, err := readFile(name, pemBytesMax)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, unreadable(name, err)
		}
		key, err := parseECHKey(data)
		if err != nil {
			return nil, &fault{name, err}
		}
		files = append(files, ECHFile{ECHKey: key, File: name, Since: info.ModTime(), loose: info.Mode().Perm()&0o007 != 0})
	}
	for i := 1; i < len(files); i++ {
		files[i-1].Until = files[i].Since.Add(o.Keep)
	}
	return files, nil
}

// Published returns the last one, which has to be what the options say. Its errors are faults.
func (o ECH) Published(files []ECHFile) (ECHFile, error) {
	if len(files) == 0 {
		return ECHFile{}, &fault{o.Dir, errors.New("it holds no ECH key: `sluice ech` makes one")}
	}
	last := files[len(files)-1]
	if last.PublicName != o.PublicName {
		return last, &fault{last.File, fmt.Errorf("it is for the public name %s, and %s is wanted: `sluice ech` makes another one",
			last.PublicName, o.PublicName)}
	}
	return last, nil
}

// Decrypts reports whether a key is still in use.
func (f ECHFile) Decrypts(now time.Time) bool { return f.Until.IsZero() || now.Before(f.Until) }

// echKeys are those that handshakes are made with. look is for one goroutine at a time.
type echKeys struct {
	ECH
	set     string
	now     func() time.Time
	files   watched[[]ECHFile]
	gone    []string // of the files, those that were not there at the last look
	trouble string   // with the folder, which was told
	current atomic.Pointer[[]tls.EncryptedClientHelloKey]
	bare    bool // it was told that no certificate is for the public name
}

// newECH reads the folder.
func newECH(set string, o ECH, now func() time.Time) (*echKeys, error) {
	e := &echKeys{ECH: o, set: set, now: now}
	var err error
	e.lookAt(func(wrong error) { err = wrong })
	return e, err
}

// keys is tls.Config.GetEncryptedClientHelloKeys. It is asked again for what a client is told that has used a key which nobody has
// any more, or has made one up as many browsers do (GREASE): in either case the handshake goes on with the public name. There may be
// none, after which it does as well.
func (e *echKeys) keys(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
	return *e.current.Load(), nil
}

func (e *echKeys) look(certificates *table) {
	e.lookAt(func(err error) {
		slog.Error("the keys for ECH cannot be read, what was in force stays", "tls", e.set, "error", err)
	})
	e.tellBare(certificates)
}

func (e *echKeys) lookAt(failed func(error)) {
	changed := e.follow(failed)
	if changed && e.current.Load() != nil {
		last := e.files.value[len(e.files.value)-1]
		slog.Info("the keys for ECH are replaced", "tls", e.set, "published", last.File, "public_name", last.PublicName)
	}
	e.drop()
	n, before := len(e.files.value), e.current.Load()
	if before == nil && n == 0 || before != nil && !changed && n == len(*before) {
		return
	}
	e.publish(e.files.value)
	if n == 0 {
		slog.Error("no key for ECH is left: names are not hidden any more, `sluice ech` makes a key", "tls", e.set, "folder", e.Dir)
	}
}

// drop takes away keys whose time is over, whatever has become of their files, and those whose files are gone: who has deleted one
// wants nobody to open anything with it. What is read without a fault holds no such key, so that these are looked for where there
// is one. They have to be gone at two looks in a row, since a folder may be emptied to be filled again.
func (e *echKeys) drop() {
	e.files.value = slices.DeleteFunc(e.files.value, func(f ECHFile) bool { return !f.Decrypts(e.now()) })
	before := e.gone
	e.gone = nil
	if e.files.trouble == "" || e.trouble != "" { // a folder that cannot be read says nothing about its files
		return
	}
	e.files.value = slices.DeleteFunc(e.files.value, func(f ECHFile) bool {
		if _, err := os.Stat(f.File); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if !slices.Contains(before, f.File) {
			e.gone = append(e.gone, f.File)
			return false
		}
		slog.Warn("a key for ECH is not used any more, its file is gone", "tls", e.set, "file", f.File)
		return true
	})
	if n := len(e.files.value); n > 0 && e.files.value[n-1].PublicName == e.PublicName {
		e.files.value[n-1].Until = time.Time{} // it is the one that clients are told
	}
}

// follow reads the folder if it is another one than at the last look, and says whether it was, and could be read.
func (e *echKeys) follow(failed func(error)) (changed bool) {
	names, err := e.list()
	if err != nil {
		if e.trouble != err.Error() {
			e.trouble = err.Error()
			failed(err)
		}
		return false
	}
	e.trouble, e.files.files = "", names[:min(len(names), ECHKeysMax+1)]
	changed, err = e.files.look(func() ([]ECHFile, error) {
		files, err := e.read(names)
		if err == nil {
			_, err = e.Published(files)
		}
		return files, err
	})
	if err != nil {
		failed(err)
	}
	return changed
}

// publish makes these keys current, the newest first since most clients have it. Clients are told that one, unless it is left of
// another public name.
func (e *echKeys) publish(files []ECHFile) {
	keys := make([]tls.EncryptedClientHelloKey, 0, len(files))
	for i, f := range slices.Backward(files) {
		told := i == len(files)-1 && f.PublicName == e.PublicName
		keys = append(keys, tls.EncryptedClientHelloKey{Config: f.config, PrivateKey: f.reveal(), SendAsRetry: told})
	}
	e.current.Store(&keys)
}

// tellBare tells, once, that clients cannot verify the public name: whoever has an old key is then shut out, since what it is told
// in its place has to come from that name (RFC 9849 section 6.1.6).
func (e *echKeys) tellBare(certificates *table) {
	_, ok := certificates.named(e.PublicName)
	if !ok && !e.bare {
		slog.Warn("no certificate is for the public name of ECH: clients with an old key are shut out", "tls", e.set, "public_name", e.PublicName)
	}
	e.bare = !ok
}
