package config

import (
	"reflect"
	"slices"
)

// Mentions reports whether a template holds a variable, wherever it stands: what nobody asks for need not be known.
func (c *Config) Mentions(variable string) bool { return mentions(reflect.ValueOf(c), variable) }

var templateType, posType = reflect.TypeFor[Template](), reflect.TypeFor[Pos]()

func mentions(v reflect.Value, variable string) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && mentions(v.Elem(), variable)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return false
		}
		for i := range v.Len() {
			if mentions(v.Index(i), variable) {
				return true
			}
		}
	case reflect.Struct:
		if v.Type() == templateType {
			pieces, err := SplitTemplate(v.Field(0).String(), true)
			return err == nil && slices.ContainsFunc(pieces, func(p Piece) bool { return p.Variable == variable })
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type != posType && mentions(v.Field(i), variable) {
				return true
			}
		}
	}
	return false
}

// CountryDatabase is the one that the policies of the kind countries name. There may be several policies, but not several databases: nobody
// could tell which one knows the country of a client.
func (c *Config) CountryDatabase() (database *Networks, one bool) {
	one = true
	c.eachPolicy(func(p *Policy, _ string) {
		switch {
		case p.Countries == nil || p.Countries.Database == nil:
		case database == nil:
			database = p.Countries.Database
		case database.Name != p.Countries.Database.Name:
			one = false
		}
	})
	return database, one && database != nil
}

// NoCountry says why nobody knows the country of a client, or is empty.
func (c *Config) NoCountry() string {
	switch database, one := c.CountryDatabase(); {
	case database == nil:
		return "no policy of the kind countries names a database"
	case !one:
		return "policies of the kind countries name different databases"
	}
	return ""
}
