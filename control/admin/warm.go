package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"sluice/proxy/server"
)

// Bounds of what one call can ask for.
const (
	warmMax    = 1000 // URLs
	warmFields = 20
	warmAtOnce = 4
	warmFor    = time.Minute
)

// warm is what POST /v1/cache/warm is asked to do.
type warm struct {
	URLs   []string          `json:"urls"`
	Fields map[string]string `json:"fields"`

	questions []server.Question
}

// warmed is what came of one URL.
type warmed struct {
	URL    string `json:"url"`
	Status int    `json:"status,omitempty"`
	Cache  string `json:"cache,omitempty"` // as in the access log: miss and revalidated have brought something new
	Bytes  int64  `json:"bytes"`
	Error  string `json:"error,omitempty"`
}

// warmCache asks for a list of URLs, as if a client on this host had sent them.
func (s *Server) warmCache(ctx *fasthttp.RequestCtx) {
	w, err := readWarm(ctx.PostBody())
	if err != nil {
		fail(ctx, problem{Status: 400, Code: "bad_warm", Detail: "Nothing was asked for: " + err.Error() + "."})
		return
	}
	if s.gateway.Cache() == nil {
		fail(ctx, noCache)
		return
	}
	within, cancel := context.WithTimeout(context.Background(), warmFor)
	defer cancel()
	answer(ctx, 200, map[string]any{"urls": w.ask(within, s.gateway.Ask)})
}

func (w *warm) ask(ctx context.Context, ask func(context.Context, server.Question) (server.Answer, error)) []warmed {
	all := make([]warmed, len(w.URLs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range warmAtOnce {
		wg.Go(func() {
			for i := range next {
				a, err := server.Answer{}, ctx.Err()
				if err == nil {
					a, err = ask(ctx, w.questions[i])
				}
				all[i] = warmed{URL: w.URLs[i], Status: a.Status, Cache: a.Cache, Bytes: a.Bytes}
				switch {
				case errors.Is(err, context.DeadlineExceeded):
					all[i].Error = fmt.Sprintf("not within %v", warmFor)
				case err != nil:
					all[i].Error = err.Error()
				}
			}
		})
	}
	for i := range w.questions {
		next <- i
	}
	close(next)
	wg.Wait()
	return all
}

func readWarm(body []byte) (*warm, error) {
	w := new(warm)
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(w); err != nil {
		return nil, errors.New(`the body is no JSON object such as {"urls": ["https://shop.example/"], "fields": {"Accept-Language": "de"}}`)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the JSON object")
	}
	if n := len(w.URLs); n == 0 || n > warmMax {
		return nil, fmt.Errorf("%d URLs are given, and 1 to %d are wanted", n, warmMax)
	}
	if n := len(w.Fields); n > warmFields {
		return nil, fmt.Errorf("%d fields are given, and at most %d are possible", n, warmFields)
	}
	var fields [][2]string
	for name, value := range w.Fields {
		fields = append(fields, [2]string{name, value})
	}
	for _, text := range w.URLs {
		q, err := questionOf(text)
		if err != nil {
			return nil, err
		}
		q.Fields = fields
		w.questions = append(w.questions, q)
	}
	return w, nil
}

// questionOf takes a URL apart as a client does that asks for it.
func questionOf(text string) (q server.Question, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "" {
		return q, fmt.Errorf("%.100q is no URL such as https://shop.example/path", text)
	}
	port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return server.Question{Scheme: u.Scheme, Host: strings.TrimSuffix(strings.ToLower(u.Host), port), Target: u.RequestURI()}, nil
}
