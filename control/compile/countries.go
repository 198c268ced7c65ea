package compile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/address"
	"sluice/router"
)

func (b *builder) countriesPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	c := p.Countries
	if c == nil {
		return nil, false, nil
	}
	guard := b.countries[c]
	if guard == nil {
		listed, known, err := b.countrySets(c)
		guard = address.NewCountries(listed, known, len(c.Allow) > 0)
		b.countries[c] = guard
		if err != nil {
			return nil, true, err
		}
	}
	return proxy.Guarded(name, guard, modes[c.Mode], nil), true, nil
}

// countrySets makes sets of addresses out of the database: those of the countries that are listed, and, if the others are to be told
// apart, those of any country. Like lists of addresses, they are kept as long as the database is the same.
func (b *builder) countrySets(c *config.Countries) (listed, known *address.Set, err error) {
	list := append(texts(c.Allow), texts(c.Deny)...)
	hash := sha256.New()
	fmt.Fprintf(hash, "countries %q\n", list) // a hash takes everything
	hash.Write(c.Database.Data)
	digest := [sha256.Size]byte(hash.Sum(nil))
	digestKnown := digest
	digestKnown[0] ^= 1
	apart := c.ToldApart()
	listed, known = b.setBefore(digest), b.setBefore(digestKnown)
	if listed == nil || apart && known == nil {
		in, all, err := readCountries(c.Database.Data, list)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot use the database of countries: %w", err)
		}
		for code, networks := range in {
			if len(networks) == 0 {
				return nil, nil, fmt.Errorf("the database has no network of the country %s", code)
			}
		}
		var networks []netip.Prefix
		for _, code := range list {
			networks = append(networks, in[code]...)
		}
		if listed, err = address.NewSet(networks); err != nil {
			return nil, nil, err
		}
		if apart {
			if known, err = address.NewSet(all); err != nil {
				return nil, nil, err
			}
		}
	}
	b.plan.sets[digest] = listed
	if !apart {
		return listed, nil, nil
	}
	b.plan.sets[digestKnown] = known
	return listed, known, nil
}

// countryOf is a database that somebody asks for the country of a client.
type countryOf struct {
	idle
	*address.Database
}

// countryDatabase returns what knows the country of a client, or nil if nobody asks. It is read anew only if it has changed.
func (b *builder) countryDatabase() proxy.Countries {
	asked := b.config.Mentions("client.country")
	for _, p := range b.programs {
		asked = asked || p.Uses("client.country")
	}
	file, one := b.config.CountryDatabase()
	if !asked || !one {
		return nil
	}
	d, err := lastingOf(b, fmt.Sprintf("countries %x", sha256.Sum256(file.Data)), func() (countryOf, error) {
		d, err := address.OpenDatabase(file.Data)
		return countryOf{Database: d}, err
	})
	if err != nil {
		b.problems = append(b.problems, config.Problem{Pos: file.Pos, Message: fmt.Sprintf("cannot use the database of countries: %v", err)})
		return nil
	}
	return d
}

// readCountries reads a database in MaxMind's format: the networks of each of the countries in list, and of all that have one.
func readCountries(data []byte, list []string) (in map[string][]netip.Prefix, all []netip.Prefix, err error) {
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, nil, err
	}
	in = make(map[string][]netip.Prefix, len(list))
	for _, code := range list {
		in[code] = nil
	}
	codes := make(map[uintptr]string) // records are shared by all networks of a country, or of a city
	left := db.Metadata.NodeCount + 1 // a tree has no more ends; one that is broken may have no end
	for result := range db.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if err := result.Err(); err != nil {
			return nil, nil, err
		}
		if left == 0 {
			return nil, nil, errors.New("its tree of networks has loops")
		}
		left--
		if !result.Found() {
			continue
		}
		code, read := codes[result.Offset()]
		if !read {
			if err := result.DecodePath(&code, "country", "iso_code"); err != nil {
				return nil, nil, err
			}
			codes[result.Offset()] = code
		}
		if code == "" {
			continue
		}
		networks := []netip.Prefix{result.Prefix()}
		if p := networks[0]; p.Addr().Is6() && p.Bits() < 96 && p.Contains(netip.IPv6Unspecified()) {
			networks = append(networks, everyIPv4) // which are below ::/96
		}
		all = append(all, networks...)
		if _, asked := in[code]; asked {
			in[code] = append(in[code], networks...)
		}
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("it has no countries, its type is %q", db.Metadata.DatabaseType)
	}
	return in, all, nil
}

var everyIPv4 = netip.MustParsePrefix("0.0.0.0/0")
