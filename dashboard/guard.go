package dashboard

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// policy is the page's Content-Security-Policy: its own scripts, styles and connections, nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// guard refuses what another site's page could make a browser ask: requests under a foreign host name
// (DNS rebinding) and posts from another origin (net/http.CrossOriginProtection). Answers from outside, which are
// signed, are taken from other origins too; under the public name nothing else is.
func (s *Server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusForbidden, "the request comes from another site's page: open the dashboard itself")
	}))
	next = cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		host := hostOf(r.Host)
		known := isLoopback(host) || s.hosts[host]
		// A proxy may call under loopback's name and tell the browser's in a header.
		outside := s.isOutside(host) || s.isOutside(hostOf(r.Header.Get("X-Forwarded-Host")))
		if s.answers != nil && (outside || known && fromOutside(r)) {
			s.answers.routes.ServeHTTP(w, r)
			return
		}
		if !known {
			fail(w, http.StatusMisdirectedRequest, "the dashboard is not known by this host name: use localhost, or add "+
				"the name to its configuration")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOutside reports whether a host, as hostOf returns it, is published for answers and not a name of the dashboard.
func (s *Server) isOutside(host string) bool { return s.answers.publishes(host) && !s.hosts[host] }

// fromOutside reports whether the path is one of Answers.
func fromOutside(r *http.Request) bool {
	return r.URL.Path == "/answer" || strings.HasPrefix(r.URL.Path, "/hooks/")
}

// protect sets the headers that every answer has.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// hostOf returns the name or address in a Host header, in lower case, without port, brackets and final dot.
func hostOf(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// isLoopback reports whether a host, as hostOf returns it, is loopback's.
func isLoopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// fail answers with one sentence.
func fail(w http.ResponseWriter, status int, why string) {
	answer(w, status, struct {
		Error string `json:"error"`
	}{why})
}

// answer writes v as JSON. An error of writing means that the browser has gone, which is its right.
func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}
