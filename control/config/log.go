package config

// Log says what is written where.
type Log struct {
	Level  string  `cfg:"level" default:"info" enum:"debug,info,warn,error" doc:"the least severe messages that are written"`
	Access *Access `cfg:"access" doc:"one line per request; off by default, {} writes JSON to stdout"`
}

// Access is the access log. A nil *Access, or one that is Off, writes nothing; see Log.AccessLog.
type Access struct {
	Off    bool         // access: off
	To     Target       `cfg:"to" default:"stdout" doc:"stdout, stderr or a file"`
	Format AccessFormat `cfg:"format" default:"json" doc:"json, or a template such as \"$client.ip $request.method $request.path $response.status\""`
	Sample Percent      `cfg:"sample" default:"100%" doc:"the share of requests that are logged"`
	Pos    Pos
}

// AccessLog returns the access log, or nil when it is off.
func (l Log) AccessLog() *Access {
	if l.Access == nil || l.Access.Off {
		return nil
	}
	return l.Access
}

func (a *Access) decodeShort(d *decoder, n *node, path string) bool {
	text, ok := d.scalar(n, path, "to, format and sample, or off")
	if ok && text != "off" {
		d.wants(n, path, "to, format and sample, or off", "access: {} writes JSON to stdout")
	}
	a.Off = text == "off"
	return true
}

// Target is where a log goes: the words stdout and stderr, or a file.
type Target struct {
	Stream string // "stdout", "stderr" or empty
	File   string // resolved like a Path; empty for a stream
}

func (t *Target) decode(d *decoder, n *node, path string, _ field) {
	text, ok := d.scalar(n, path, "stdout, stderr or a file")
	if !ok {
		return
	}
	if text == "stdout" || text == "stderr" {
		t.Stream = text
		return
	}
	t.File, _ = d.path(n, path)
}

// AccessFormat is the form of a line: JSON, or a template.
type AccessFormat struct {
	JSON     bool
	Template Template
}

func (a *AccessFormat) decode(d *decoder, n *node, path string, f field) {
	a.Template.decode(d, n, path, f)
	if a.Template.Text == "json" {
		a.JSON, a.Template.Text = true, ""
	}
}

func (v *validator) log(l Log) {
	access := l.AccessLog()
	if access == nil || access.Format.JSON {
		return
	}
	const path = "log.access.format"
	pieces := v.template(access.Format.Template, path, templateRules{phase: PhaseLog, groups: -1, oneLine: true, required: true, log: true})
	for _, p := range pieces {
		if p.Variable != "" {
			return
		}
	}
	if pieces != nil {
		v.fail(path, "wants json, or a template with at least one $variable", "")
	}
}
