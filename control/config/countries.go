package config

// Countries is the policy that admits clients by the country of their address: exactly one of Allow and Deny is there.
type Countries struct {
	Database *Networks  `cfg:"database" required:"true" doc:"a file in MaxMind's format with countries, such as GeoLite2-Country.mmdb, up to 64 MiB"`
	Allow    List[Text] `cfg:"allow" doc:"countries that are admitted, by their two letters (ISO 3166)"`
	Deny     List[Text] `cfg:"deny" doc:"countries that are refused"`
	Unknown  string     `cfg:"unknown" enum:"allow,deny" doc:"addresses of no country, such as private ones; by default as those of countries that are not listed"`
	Mode     string     `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
	Pos      Pos
}

// ToldApart reports whether addresses of no country are treated in another way than those of countries that are not listed.
func (c *Countries) ToldApart() bool {
	return c.Unknown == "allow" && len(c.Allow) > 0 || c.Unknown == "deny" && len(c.Deny) > 0
}

func (v *validator) countries(c *Countries, path string) {
	if c == nil {
		return
	}
	if (len(c.Allow) > 0) == (len(c.Deny) > 0) {
		v.fail(path, "wants one of allow and deny", "allow: [DE, AT]")
	}
	seen := map[string]bool{}
	for i, country := range append(append(List[Text]{}, c.Allow...), c.Deny...) {
		where := v.item(path+".allow", i)
		if len(c.Allow) == 0 {
			where = v.item(path+".deny", i)
		}
		switch {
		case !isCountry(country.Text):
			v.failAt(country.Pos, where, "wants a country, got "+v.show(country.Text, country.Pos), "two capital letters, such as DE (ISO 3166)")
		case seen[country.Text]:
			v.failAt(country.Pos, where, v.show(country.Text, country.Pos)+" stands here twice", "")
		}
		seen[country.Text] = true
	}
}

func isCountry(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}
