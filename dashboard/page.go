package dashboard

import (
	"embed"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// dist is what ui/ is built into; a fresh checkout holds .gitkeep alone.
//
//go:embed all:dist
var dist embed.FS

func built() fs.FS {
	page, err := fs.Sub(dist, "dist")
	if err != nil { // only for an invalid path
		return dist
	}
	return page
}

// unbuilt stands in for the page in a program that was compiled before it.
const unbuilt = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>fanwatch</title>
<h1>The page is not built into this program</h1>
<p>Build it, and the program after it, with</p>
<pre>go tool task ui</pre>
<p>which needs Node 20 or newer. The JSON interface works without it: <a href="api/fans">api/fans</a>,
<a href="api/alerts">api/alerts</a>.</p>
`

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	b, err := fs.ReadFile(s.page, "index.html")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		b = []byte(unbuilt)
	}
	w.Write(b)
}

// asset serves a file of the built page. Those under assets/ carry their content's hash in their name.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	b, err := fs.ReadFile(s.page, name)
	hashed := strings.HasPrefix(name, "assets/")
	if err != nil || !hashed && name != "favicon.svg" { // assets/..%2Findex.html leads elsewhere
		fail(w, http.StatusNotFound, "the page has no such file: reload it")
		return
	}
	w.Header().Set("Content-Type", contentType(path.Ext(name)))
	if hashed {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Write(b)
}

// contentType does not leave scripts and styles to the machine's MIME table, which may call them
// text/plain; the browser would refuse them.
func contentType(ext string) string {
	switch ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}
