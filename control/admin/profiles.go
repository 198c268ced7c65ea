package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/valyala/fasthttp"

	"sluice/control/profiling"
)

// storedPath is where the profiles are that were taken without being asked for.
const storedPath = "/v1/profiles/"

// stored is the answer of GET /v1/profiles.
type stored struct {
	On       bool             `json:"on"` // whether the configuration asks for any
	Folder   string           `json:"folder"`
	Profiles []profiling.File `json:"profiles"` // the newest first
}

func (s *Server) profiles(ctx *fasthttp.RequestCtx) {
	ring := s.gateway.Profiles()
	if ring == nil {
		answer(ctx, 200, stored{Profiles: []profiling.File{}})
		return
	}
	files, err := ring.List()
	if err != nil {
		fail(ctx, problem{Status: 500, Code: "profiles_unreadable", Detail: sentence(err)})
		return
	}
	answer(ctx, 200, stored{On: true, Folder: ring.Folder(), Profiles: list(files)})
}

// storedProfile sends one file. A name is matched with the form that the ring gives its names: nothing else in the
// folder, and nothing outside of it, can be asked for.
func (s *Server) storedProfile(ctx *fasthttp.RequestCtx) {
	ring, name := s.gateway.Profiles(), strings.TrimPrefix(string(ctx.Path()), storedPath)
	if ring == nil {
		fail(ctx, problem{Status: 404, Code: "not_found", Detail: "Continuous profiling is off: see admin.profiling in the configuration."})
		return
	}
	f, file, err := ring.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fail(ctx, problem{Status: 404, Code: "not_found", Detail: "There is no profile of this name; GET /v1/profiles lists them."})
		return
	case err != nil:
		fail(ctx, problem{Status: 500, Code: "profiles_unreadable", Detail: sentence(err)})
		return
	}
	ctx.SetContentType("application/octet-stream")
	if file.Kind == "reason" {
		ctx.SetContentType("text/plain; charset=utf-8")
	}
	ctx.Response.Header.Set("Content-Disposition", `attachment; filename="`+file.Name+`"`)
	ctx.SetBodyStream(f, int(file.Bytes)) // which is closed with the response
}

func sentence(err error) string { return fmt.Sprintf("The profiles cannot be read: %v.", err) }
