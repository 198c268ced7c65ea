package proxytest

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"
)

// Script runs a behaviour that is written down in a txtar file, such as those in proxy/testdata. Above the first
// section stands, in a sentence or two, what is to be seen. The sections:
//
//	-- gateway.yaml --   the configuration, in which http://ORIGIN is a fake origin (ORIGIN_B: another one, called
//	                     b) and http://DEAD an address that refuses connections
//	-- request --        what the client sends. Requests with no response between them leave in one write. Words
//	                     are labels (request 2), but for "(end)": the client then ends its side of the connection
//	-- origin --         the answer of the origin to its next request (origin b: of b). With no answer left it falls
//	                     silent. "early": sent when the head is there, before the body is read (a 1xx is followed by
//	                     another answer). "close": the origin closes the connection after it, empty: without it
//	-- seen --           a request that the origin received (seen b: that b did), in the order of their arrival
//	-- response --       what the client received: up to the final response, 100 Continue or 101; after the last
//	                     request, to the end of the connection
//
// What is sent is sent as it stands, with CRLF for line ends and \x00 for the byte 0, \x61*70 for 70 times "a". The
// last line end of a section is not sent, unless the section ends in an empty line: "hello" has a length of 5. After
// 101 both sides are tunnels: the origin reads to the end, then gives its next answer.
//
// What was received stands there byte for byte, but for what changes from run to run: REQUEST-ID, NOW, BUCKET, SECONDS until a limit
// lets more in, and the addresses; Age and the ttl of Cache-Status are as they were at the beginning, if they are in whole minutes.
// CRLF is a line end, any other control byte an escape; the chunks of a body are joined to one; (cut off)
// and (reset) say that the message is not whole.
//
// seen and response are expectations, and complete: what is not there must not have happened. -rewrite writes them;
// reviewing is reading the diff. A new script needs a gateway.yaml, a request and, mostly, an answer of the origin.
func Script(t *testing.T, file string, rewrite bool) {
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, file: txtar.Parse(want), origins: make(map[string]*scriptOrigin)}
	if len(bytes.TrimSpace(s.file.Comment)) == 0 {
		t.Error("the script does not say what is to be seen")
	}
	got := s.play()
	diff := cmp.Diff(string(want), string(got))
	switch {
	case diff == "":
	case !rewrite || t.Failed(): // what hangs, or was not played to its end, is no expectation
		t.Errorf("%s (- expected, + got):\n%s", filepath.Base(file), diff)
	default:
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// scriptPatience bounds a script. It is long because it only passes when something is wrong.
const scriptPatience = 15 * time.Second

type script struct {
	t       *testing.T
	file    *txtar.Archive
	gateway *Gateway
	origins map[string]*scriptOrigin
	names   *strings.Replacer // of addresses, for what is shown
	turns   []turn
	client  *Client
	tunnel  bool
	client2 http.RoundTripper // asks instead, if not nil: see Script2 and Script3
	http3   bool              // it speaks HTTP/3
	tls     bool              // the gateway speaks TLS
}

// turn is a group of requests that leave together, with what comes of it.
type turn struct {
	sections []txtar.File // what was written by hand
	requests []txtar.File
	answers  []string
}

// play returns the script as it happened.
func (s *script) play() []byte {
	yaml := s.split()
	switch {
	case s.http3:
		yaml = listenTLS(yaml, "[h1, h3]")
	case s.client2 != nil && s.tls:
		yaml = listenTLS(yaml, "[h1, h2]")
	case s.client2 != nil:
		yaml = listen2(yaml)
	case s.tls:
		yaml = listenTLS(yaml, "h1")
	}
	s.gateway = Start(s.t, s.start(yaml))
	if s.tls && s.client2 == nil {
		s.gateway.Addr = encrypt(s.t, s.gateway.Addr)
	}
	for i := range s.turns {
		for _, o := range s.origins {
			o.turn.Store(int32(i))
		}
		if s.client2 != nil {
			s.converse2(&s.turns[i])
		} else {
			s.converse(&s.turns[i], i == len(s.turns)-1)
		}
	}
	// Everything an origin is ever sent has been sent once the gateway is gone.
	s.gateway.Stop()
	for _, o := range s.origins {
		o.stop()
	}
	return s.format()
}

// split sorts the sections into turns. A new one begins with the first request after a response.
func (s *script) split() (yaml string) {
	answered := true
	for _, f := range s.file.Files {
		kind, words, _ := strings.Cut(f.Name, " ")
		switch kind {
		case "gateway.yaml":
			yaml = string(f.Data)
		case "request":
			if answered {
				s.turns = append(s.turns, turn{})
				answered = false
			}
			last := &s.turns[len(s.turns)-1]
			last.requests = append(last.requests, f)
		case "response":
			answered = true
		case "origin":
			s.answer(words, f.Data)
		case "seen":
		default:
			s.t.Fatalf("the section %q is none of gateway.yaml, request, origin, seen and response", f.Name)
		}
		if n := len(s.turns); n > 0 && kind != "seen" && kind != "response" {
			s.turns[n-1].sections = append(s.turns[n-1].sections, f)
		}
	}
	if yaml == "" || len(s.turns) == 0 {
		s.t.Fatal("a script needs a gateway.yaml and a request")
	}
	return yaml
}

func (s *script) answer(words string, data []byte) {
	a := answer{bytes: unescape(s.t, data)}
	name := ""
	for word := range strings.FieldsSeq(words) {
		switch word {
		case "early":
			a.early = true
		case "close":
			a.close = true
		default:
			name = word
		}
	}
	o := s.origin(name)
	o.answers = append(o.answers, a)
}

func (s *script) origin(name string) *scriptOrigin {
	o := s.origins[name]
	if o == nil {
		o = newScriptOrigin(s.t)
		s.origins[name] = o
	}
	return o
}

var addressWord = regexp.MustCompile(`\b(ORIGIN(?:_[A-Z]+)?|DEAD)\b`)

// start puts addresses into the configuration.
func (s *script) start(yaml string) string {
	var pairs []string
	yaml = addressWord.ReplaceAllStringFunc(yaml, func(word string) string {
		address := ""
		if word == "DEAD" {
			address = refusingAddress(s.t)
		} else {
			_, name, _ := strings.Cut(strings.ToLower(word), "_")
			address = s.origin(name).address
		}
		pairs = append(pairs, address, word)
		return address
	})
	s.names = strings.NewReplacer(pairs...)
	return strings.ReplaceAll(yaml, "STATE-FOLDER", s.t.TempDir())
}

// refusingAddress is bound, so that nobody else can listen there, and nobody listens.
func refusingAddress(t testing.TB) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))
}

// converse plays one turn. A turn after an answer that ended the connection has a new one.
func (s *script) converse(u *turn, last bool) {
	if s.client == nil {
		s.client = s.gateway.Dial()
		if err := s.client.SetDeadline(time.Now().Add(scriptPatience)); err != nil {
			s.t.Fatal(err)
		}
	}
	var out []byte
	end := false
	for _, r := range u.requests {
		out = append(out, unescape(s.t, r.Data)...)
		end = end || strings.HasSuffix(r.Name, " (end)")
	}
	// A gateway that has refused already may have closed: what it said is what counts.
	_, _ = s.client.Write(out)
	if end {
		s.endSide()
	}
	for i, r := range u.requests {
		var in transcript
		if !s.tunnel {
			in.response(s.client.R, strings.HasPrefix(string(r.Data), "HEAD "))
			s.tunnel = in.status == http.StatusSwitchingProtocols
		}
		if i == len(u.requests)-1 && (last || in.closing) {
			if !in.closing && !end {
				s.endSide()
			}
			in.rest(s.client.R)
			s.client.Close()
			s.client = nil
		}
		if in.failed != nil {
			s.t.Errorf("the client of %q: %v", r.Name, in.failed)
		}
		u.answers = append(u.answers, in.String())
	}
}

// endSide ends the client's side. It fails where the gateway has closed already, which the answer shows.
func (s *script) endSide() { _ = s.client.CloseWrite() }

// format writes the script with what has come of it: in every turn what was written by hand, then what the origins
// saw, then the responses.
func (s *script) format() []byte {
	a := &txtar.Archive{Comment: s.file.Comment}
	for _, f := range s.file.Files {
		if strings.HasPrefix(f.Name, "request") {
			break
		}
		a.Files = append(a.Files, f)
	}
	var ids renamer
	add := func(name, text string) {
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(ids.rename(s.names.Replace(text)))})
	}
	s.sortSeen()
	for i, u := range s.turns {
		a.Files = append(a.Files, u.sections...)
		for _, name := range slices.Sorted(maps.Keys(s.origins)) {
			for _, m := range s.origins[name].seen {
				if m.turn == i {
					add(strings.TrimSpace("seen "+name), m.text.String())
				}
			}
		}
		for n, answer := range u.answers {
			label := strings.TrimSuffix(strings.TrimPrefix(u.requests[n].Name, "request"), " (end)")
			add("response"+label, answer)
		}
	}
	for name, o := range s.origins {
		if len(o.answers) > 0 {
			s.t.Errorf("the origin %q was not asked for its last %d answers", name, len(o.answers))
		}
	}
	return txtar.Format(a)
}

var sentID = regexp.MustCompile(`(?m)^X-Request-Id: (.*)$`)

// sortSeen puts what the origins saw into the turn that it belongs to: a refusal can be with the client before the origin
// has looked at what it was sent.
func (s *script) sortSeen() {
	turns := make(map[string]int)
	for i, u := range s.turns {
		for _, answer := range u.answers {
			for _, id := range sentID.FindAllStringSubmatch(answer, -1) {
				turns[id[1]] = i
			}
		}
	}
	for _, o := range s.origins {
		for _, m := range o.seen {
			if id := sentID.FindStringSubmatch(m.text.String()); id != nil {
				if turn, ok := turns[id[1]]; ok && turn < m.turn {
					m.turn = turn
				}
			}
		}
	}
}

// renamer gives what is random a name. Equal request ids keep equal names: it is one id that the origin and the
// client see.
type renamer struct{ ids []string }

var (
	randomID     = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	randomBucket = regexp.MustCompile(`=b[0-9]{6}; Path`)
	passingAge   = regexp.MustCompile(`(?m)^Age: [0-9]+$`)
	passingTTL   = regexp.MustCompile(`\bttl=-?[0-9]+\b`)
	someDate     = regexp.MustCompile(`(?m)^Date: (.*)$`)
	someSeconds  = regexp.MustCompile(`(?m)(^Retry-After: )[0-9]{2,}$|(;t=)[0-9]{2,}`)
)

func (r *renamer) rename(text string) string {
	text = randomID.ReplaceAllStringFunc(text, func(id string) string {
		for i, known := range r.ids {
			if known == id {
				return idName(i)
			}
		}
		r.ids = append(r.ids, id)
		return idName(len(r.ids) - 1)
	})
	text = randomBucket.ReplaceAllString(text, "=BUCKET; Path")
	text = passingAge.ReplaceAllStringFunc(text, func(age string) string { return wholeMinutes(age, "Age: ", 0) })
	text = passingTTL.ReplaceAllStringFunc(text, func(ttl string) string { return wholeMinutes(ttl, "ttl=", 59) })
	text = someSeconds.ReplaceAllString(text, "${1}${2}SECONDS")
	return someDate.ReplaceAllStringFunc(text, func(line string) string {
		at, err := http.ParseTime(strings.TrimPrefix(line, "Date: "))
		if err != nil || time.Since(at).Abs() > time.Minute {
			return line // what an origin has said
		}
		return "Date: NOW"
	})
}

// wholeMinutes is a count of seconds as it was when a script began, if that was in whole minutes: what grows is rounded down, what shrinks up.
func wholeMinutes(text, name string, up int) string {
	n, err := strconv.Atoi(text[len(name):])
	if err != nil {
		return text
	}
	n += up
	return name + strconv.Itoa(n-(n%60+60)%60)
}

func idName(i int) string {
	if i == 0 {
		return "REQUEST-ID"
	}
	return fmt.Sprintf("REQUEST-ID-%d", i+1)
}

var escapes = regexp.MustCompile(`\\x([0-9a-f]{2})(?:\*([0-9]+))?`)

// unescape turns a section into what is sent.
func unescape(t testing.TB, section []byte) []byte {
	if !bytes.HasSuffix(section, []byte("\n\n")) {
		section = bytes.TrimSuffix(section, []byte("\n"))
	}
	section = bytes.ReplaceAll(section, []byte("\n"), []byte("\r\n"))
	return escapes.ReplaceAllFunc(section, func(e []byte) []byte {
		m := escapes.FindSubmatch(e)
		c, err := strconv.ParseUint(string(m[1]), 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		count := 1
		if len(m[2]) > 0 {
			if count, err = strconv.Atoi(string(m[2])); err != nil {
				t.Fatal(err)
			}
		}
		return bytes.Repeat([]byte{byte(c)}, count)
	})
}
