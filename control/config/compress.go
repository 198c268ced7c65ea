package config

import (
	"slices"
	"strings"
)

// Compress is the policy that compresses responses, as clients accept it.
type Compress struct {
	Codings List[Text] `cfg:"codings" doc:"zstd, br and gzip, the most liked first; where a client has no preference, that order decides; all three by default"`
	Types   List[Text] `cfg:"types" doc:"media types, text/*, application/*+json or */* as well; by default text, JSON, XML, scripts, SVG and their like"`
	MinSize Size       `cfg:"min_size" default:"1KiB" max:"1MiB" doc:"bodies that are known to be smaller stay as they are"`
	Level   string     `cfg:"level" default:"default" enum:"fast,default,best" doc:"how much work is put into saving bytes"`
	Secrets bool       `cfg:"secrets" default:"false" doc:"the answers hold secrets and repeat what was asked for: what another site may have asked for is not compressed (BREACH)"`
}

// codings are those that there are.
var codings = []string{"zstd", "br", "gzip"}

func (v *validator) compress(c *Compress, path string) {
	if c == nil {
		return
	}
	seen := map[string]bool{}
	for i, coding := range c.Codings {
		where := v.item(joinPath(path, "codings"), i)
		switch {
		case !slices.Contains(codings, coding.Text):
			hint := "there are " + strings.Join(codings, ", ")
			if near := nearest(coding.Text, codings); near != "" {
				hint = "did you mean " + near + "? " + hint
			}
			v.failAt(coding.Pos, where, v.show(coding.Text, coding.Pos)+" is no coding", hint)
		case seen[coding.Text]:
			v.failAt(coding.Pos, where, v.show(coding.Text, coding.Pos)+" stands here twice", "")
		}
		seen[coding.Text] = true
	}
}
