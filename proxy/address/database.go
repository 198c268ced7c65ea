package address

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Database knows the country of every address, after a database in MaxMind's format. Lists of countries do not need it: they are sets. It
// keeps the database as it is, and beside it the countries, by where their records lie. Immutable; safe for concurrent use.
type Database struct {
	reader    *maxminddb.Reader
	countries map[uintptr]string
}

// OpenDatabase reads a database, which must not change any more.
func OpenDatabase(data []byte) (*Database, error) {
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, err
	}
	d := &Database{reader: reader, countries: make(map[uintptr]string)}
	known := false
	left := reader.Metadata.NodeCount + 1 // a tree has no more ends; one that is broken may have no end
	for result := range reader.Networks() {
		if err := result.Err(); err != nil {
			return nil, err
		}
		if left == 0 {
			return nil, errors.New("its tree of networks has loops")
		}
		left--
		if _, read := d.countries[result.Offset()]; read {
			continue
		}
		var code string
		if err := result.DecodePath(&code, "country", "iso_code"); err != nil {
			return nil, err
		}
		d.countries[result.Offset()] = code
		known = known || code != ""
	}
	if !known {
		return nil, fmt.Errorf("it has no countries, its type is %q", reader.Metadata.DatabaseType)
	}
	return d, nil
}

// Country implements proxy.Countries.
func (d *Database) Country(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	result := d.reader.Lookup(a)
	if !result.Found() { // nor if it fails, as it does for IPv6 in a database of IPv4
		return ""
	}
	return d.countries[result.Offset()]
}
