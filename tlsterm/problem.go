package tlsterm

// Problem is something that is wrong with options.
type Problem struct {
	Source  int    // index of the certificate source; -1: it is about something else
	Part    Part   // what else it is about
	Index   int    // of ClientCerts, where it is about these
	File    string // empty: it is about none
	Err     error  // does not name File once more
	Warning bool   // it works all the same; otherwise Open fails, or clients refuse what is served
}

const noSource = -1

// Part is what of the options a problem is about, apart from certificates.
type Part uint8

const (
	PartSet Part = iota // the set as a whole
	PartClientCerts
	PartECH
)

// String is the problem on one line.
func (p Problem) String() string {
	if p.File == "" {
		return p.Err.Error()
	}
	return p.File + ": " + p.Err.Error()
}
