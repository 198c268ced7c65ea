package tlsterm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pairsMax is how many certificates a folder may hold. Two files of each are looked at every pollEvery.
const pairsMax = 10_000

// folder is what a folder holds.
type folder struct {
	pairs   []pairFiles // in the order of their names
	ignored []*fault
	names   map[string]bool // of all files
}

// pairFiles are those of one pair. key is empty if cert has to hold it as well.
type pairFiles struct{ cert, key string }

// listFolder looks for NAME.crt and NAME.pem with NAME.key, and for NAME.pem alone. A NAME.crt without a key is no mistake:
// Kubernetes puts ca.crt beside tls.crt and tls.key. Names that begin with a dot are not for us. Its errors are faults.
func listFolder(dir string) (*folder, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, unreadable(dir, err)
	}
	f := &folder{names: map[string]bool{}}
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			f.names[e.Name()] = true
		}
	}
	for _, e := range entries {
		if !f.names[e.Name()] {
			continue
		}
		path, extension := filepath.Join(dir, e.Name()), filepath.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), extension)
		switch key := name + ".key"; {
		case extension == ".crt" && !f.names[key]:
			f.ignored = append(f.ignored, &fault{path, fmt.Errorf("it is left out: there is no %s beside it", key)})
		case extension == ".pem" && !f.names[key]:
			f.pairs = append(f.pairs, pairFiles{cert: path})
		case extension == ".crt", extension == ".pem":
			f.pairs = append(f.pairs, pairFiles{cert: path, key: filepath.Join(dir, key)})
		case extension == ".key" && !f.names[name+".crt"] && !f.names[name+".pem"]:
			f.ignored = append(f.ignored, &fault{path, fmt.Errorf("it is left out: there is no %s.crt or %s.pem beside it", name, name)})
		}
	}
	if len(f.pairs) > pairsMax {
		return nil, &fault{dir, fmt.Errorf("it holds more than %d certificates", pairsMax)}
	}
	return f, nil
}

// has says whether a file of that path is in the folder.
func (f *folder) has(path string) bool { return f.names[filepath.Base(path)] }

// isNoPair tells the rest of a chain, or a key alone, which is left out: a folder of certbot has all of them side by side.
func (f pairFiles) isNoPair(err error) bool {
	return f.key == "" && (errors.Is(err, errNoKey) || errors.Is(err, errNoCertificate))
}
