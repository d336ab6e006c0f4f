package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"fanwatch"
	"fanwatch/operator"
)

// routes lists what the server answers. All times in JSON are Unix milliseconds, but for those inside
// the root package's nouns, which are RFC 3339.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	route := func(method, path string, h http.HandlerFunc) {
		mux.HandleFunc(method+" "+path, h)
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", method)
			fail(w, http.StatusMethodNotAllowed, "use "+method)
		})
	}
	route("GET", "/{$}", s.index)
	route("GET", "/assets/", s.asset)
	route("GET", "/favicon.svg", s.asset)
	route("GET", "/healthz", s.healthz.ServeHTTP)
	route("GET", "/readyz", s.readyz.ServeHTTP)
	route("GET", "/api/about", s.about)
	route("GET", "/api/events", s.events)
	route("GET", "/api/fans", s.fans)
	route("GET", "/api/fans/{fan}", s.fan)
	route("GET", "/api/fans/{fan}/readings", s.readings)
	route("GET", "/api/fans/{fan}/history", s.history)
	route("POST", "/api/fans/{fan}/suggestion", s.suggestion)
	route("GET", "/api/alerts", s.alerts)
	route("POST", "/api/alerts/ack", s.acknowledge)
	route("POST", "/api/alerts/answer", s.answerAlerts)
	route("GET", "/api/refused", s.refused)
	route("GET", "/api/inbox", s.mail)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound,
			"there is nothing here")
	})
	return mux
}

// about tells the page what else there is to link to.
func (s *Server) about(w http.ResponseWriter, _ *http.Request) {
	v := struct {
		Workflows string `json:"workflows,omitempty"` // a workflow's page is this and its ID, escaped
		Inbox     bool   `json:"inbox"`
		History   bool   `json:"history"` // there is a table; see Config.History
	}{Inbox: s.cfg.InboxURL != "", History: s.cfg.History != nil}
	if s.cfg.TemporalUI != "" {
		v.Workflows = s.cfg.TemporalUI + "/namespaces/" + url.PathEscape(s.cfg.Namespace) + "/workflows/"
	}
	answer(w, http.StatusOK, v)
}

func (s *Server) fans(w http.ResponseWriter, r *http.Request) {
	s.settle(r.Context())
	u, _, _ := s.board.since(0)
	s.board.dated(u.Fans)
	answer(w, http.StatusOK, u)
}

// settle waits for the Operator's answer when the one at hand is old, but not for ever.
func (s *Server) settle(ctx context.Context) {
	select {
	case <-s.poller.fresh():
	case <-time.After(askFor):
	case <-ctx.Done():
	}
}

func (s *Server) fan(w http.ResponseWriter, r *http.Request) {
	name, ok := named(w, r)
	if !ok {
		return
	}
	s.settle(r.Context())
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	status, view, err := s.find(ctx, name)
	switch {
	case errors.Is(err, operator.ErrUnknown):
		unknown(w, name)
		return
	case err != nil:
		fail(w, http.StatusBadGateway, oneLine(err))
		return
	}
	views := []fanView{view}
	s.board.dated(views)
	answer(w, http.StatusOK, struct {
		Fan     fanView             `json:"fan"`
		Status  *fanwatch.FanStatus `json:"status"` // null when no workflow knows the fan
		Refused []refusal           `json:"refused"`
		refusedSince
	}{views[0], status, s.board.refusals(name), s.refusedSince()})
}

// find returns what is known of a fan, or an error that wraps operator.ErrUnknown. Where the board knows no
// workflow it asks for the one fan: a retired one is in no list.
func (s *Server) find(ctx context.Context, name string) (*fanwatch.FanStatus, fanView, error) {
	status, view, ok := s.board.status(name)
	if status != nil {
		return status, view, nil
	}
	st, err := s.cfg.Operator.Fan(ctx, name)
	switch {
	case err == nil:
		return &st, s.board.viewOf(&st), nil
	case ok && errors.Is(err, operator.ErrUnknown):
		return nil, view, nil
	}
	return nil, fanView{}, err
}

// unknown reports whether it is certain that no fan has that name.
func (s *Server) unknown(ctx context.Context, name string) bool {
	_, _, err := s.find(ctx, name)
	return errors.Is(err, operator.ErrUnknown)
}

// readings answers the readings of the last seconds (1 to 86400, by default 900) before the fan's newest,
// by columns, oldest first; kinds lists the fan's state at the first of them and at each change.
func (s *Server) readings(w http.ResponseWriter, r *http.Request) {
	name, ok := named(w, r)
	if !ok {
		return
	}
	seconds := 900
	if q := r.URL.Query().Get("seconds"); q != "" {
		n, err := strconv.Atoi(q)
		if err != nil || n < 1 || n > 86400 {
			fail(w, http.StatusBadRequest, fmt.Sprintf("seconds %.20q: want a whole number from 1 to 86400", q))
			return
		}
		seconds = n
	}
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	list, ok := s.board.readings(name, time.Duration(seconds)*time.Second)
	if !ok && s.unknown(ctx, name) {
		unknown(w, name)
		return
	}
	answer(w, http.StatusOK, chartOf(list))
}

type chart struct {
	T     []int64   `json:"t"`
	RPM   []float32 `json:"rpm"`
	Score []float32 `json:"score"`
	Kinds []turn    `json:"kinds"`
	judged
}

// judged has what was expected of readings or, on average, of parts, and the band around it, by columns: RPM, 0 =
// nothing was expected. Without one that is, the columns are nil.
type judged struct {
	Expected []float64 `json:"expected,omitempty"`
	Low      []float64 `json:"low,omitempty"`
	High     []float64 `json:"high,omitempty"`
}

// set sets the i-th of n.
func (j *judged) set(i, n int, expected, low, high float64) {
	if expected == 0 {
		return
	}
	if j.Expected == nil {
		j.Expected, j.Low, j.High = make([]float64, n), make([]float64, n), make([]float64, n)
	}
	tenth := func(rpm float64) float64 { return math.Round(rpm*10) / 10 }
	j.Expected[i], j.Low[i], j.High[i] = tenth(expected), tenth(low), tenth(high)
}

// turn says that a fan was in a state from a time on.
type turn struct {
	From int64         `json:"from"`
	Kind fanwatch.Kind `json:"kind"`
}

func chartOf(list []sample) chart {
	c := chart{T: make([]int64, len(list)), RPM: make([]float32, len(list)), Score: make([]float32, len(list)),
		Kinds: []turn{}}
	for i, s := range list {
		c.T[i], c.RPM[i], c.Score[i] = s.t, s.rpm, s.score
		c.set(i, len(list), float64(s.expected), float64(s.low), float64(s.high))
		// A late reading carries the state at its arrival, which is not that of its time.
		if n := len(c.Kinds); !s.late && (n == 0 || c.Kinds[n-1].Kind != kinds[s.kind]) {
			c.Kinds = append(c.Kinds, turn{s.t, kinds[s.kind]})
		}
	}
	return c
}

func (s *Server) alerts(w http.ResponseWriter, r *http.Request) {
	s.settle(r.Context())
	list, trouble := s.board.alertList()
	answer(w, http.StatusOK, struct {
		Alerts  json.RawMessage `json:"alerts"`
		Trouble string          `json:"trouble,omitempty"`
	}{list, trouble})
}

// sent decodes the one JSON object (which a form on another site cannot send unasked) of a request into in, or answers
// that it is none and what to send.
func sent(w http.ResponseWriter, r *http.Request, in any, send string) bool {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "send Content-Type: application/json")
		return false
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	if err := dec.Decode(in); err != nil || dec.More() {
		fail(w, http.StatusBadRequest, "send one object "+send+" of at most 16 KiB")
		return false
	}
	return true
}

// suggestion takes a fanwatch.SuggestionAnswer for one kind as JSON.
func (s *Server) suggestion(w http.ResponseWriter, r *http.Request) {
	var in fanwatch.SuggestionAnswer
	name, ok := named(w, r)
	if !ok || !sent(w, r, &in, `{"kind": ..., "since": ..., "accept": ...}`) {
		return
	}
	if in.Kind == "" {
		fail(w, http.StatusBadRequest, "kind must be that of the suggestion, as /api/fans/FAN gives it")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	switch _, err := s.cfg.Operator.Answer(ctx, name, in); {
	case errors.Is(err, operator.ErrUnknown):
		fail(w, http.StatusNotFound, oneLine(err))
	case err != nil:
		s.cfg.Log.Warn("dashboard: answering a suggestion failed", "fan", name, "kind", in.Kind, "err", err)
		fail(w, http.StatusBadGateway, oneLine(err))
	default:
		s.cfg.Log.Info("dashboard: suggestion answered", "fan", name, "kind", in.Kind, "accept", in.Accept)
		answer(w, http.StatusOK, struct{}{})
	}
}

// acknowledge takes {"id","by","note","verdict"} as JSON.
func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID, By, Note string
		Verdict      fanwatch.Verdict
	}
	if !sent(w, r, &in, `{"id": ..., "by": ..., "note": ..., "verdict": ...}`) {
		return
	}
	if !plain(in.ID, 300) || in.ID == "" {
		fail(w, http.StatusBadRequest, "id must be the alert's ID, as /api/alerts gives it")
		return
	}
	k := fanwatch.Acknowledgement{By: in.By, Note: in.Note, Verdict: in.Verdict, From: "dashboard"}.Trim()
	if err := k.Check(); err != nil {
		fail(w, http.StatusBadRequest, oneLine(err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	switch _, err := s.cfg.Operator.Acknowledge(ctx, in.ID, k); {
	case errors.Is(err, operator.ErrUnknown):
		fail(w, http.StatusNotFound, oneLine(err))
	case errors.Is(err, operator.ErrEnded):
		fail(w, http.StatusConflict, oneLine(err))
	case err != nil:
		s.cfg.Log.Warn("dashboard: acknowledge failed", "alert", in.ID, "err", err)
		fail(w, http.StatusBadGateway, oneLine(err))
	default:
		s.cfg.Log.Info("dashboard: acknowledged", "alert", in.ID, "by", k.By, "verdict", k.Verdict)
		answer(w, http.StatusOK, struct{}{})
	}
}

// plain reports whether s is text without control characters, of at most n bytes.
func plain(s string, n int) bool {
	return len(s) <= n && strings.ToValidUTF8(s, "\x00") == s && !strings.ContainsFunc(s, unicode.IsControl)
}

// refused answers the newest quarantined messages: of one fan with ?fan=, otherwise of all.
func (s *Server) refused(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, struct {
		Refused []refusal `json:"refused"`
		refusedSince
	}{s.board.refusals(r.URL.Query().Get("fan")), s.refusedSince()})
}

// refusedSince says from when on the list of refused messages is complete, but for what more than maxRefused displaced.
type refusedSince struct {
	Since   int64  `json:"refused_since"`             // 0: from the beginning of the landing log
	Unknown string `json:"refused_unknown,omitempty"` // why the list may lack what came meanwhile; "" = it lacks nothing
}

func (s *Server) refusedSince() refusedSince {
	since, err := s.log.complete()
	r := refusedSince{Since: millis(since)}
	if err != nil {
		r.Unknown = oneLine(err)
	}
	return r
}

// mail passes on what the local SNS has sent. The page cannot ask it itself: it is another origin.
func (s *Server) mail(w http.ResponseWriter, r *http.Request) {
	if s.cfg.InboxURL == "" {
		fail(w, http.StatusNotFound, "there is no inbox here: messages go to real addresses")
		return
	}
	b, err := s.fetchMail(r.Context())
	if err != nil {
		fail(w, http.StatusBadGateway, oneLine(fmt.Errorf("inbox: %w", err)))
		return
	}
	answer(w, http.StatusOK, b)
}

func (s *Server) fetchMail(ctx context.Context) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.InboxURL+"/inbox.json?limit=200", nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.inbox.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the local SNS does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the local SNS answers %s", resp.Status)
	}
	const limit = 4 << 20
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the local SNS breaks off: %w", err)
	case len(b) > limit:
		return nil, fmt.Errorf("the local SNS sends more than %d MiB", limit>>20)
	case !json.Valid(b):
		return nil, errors.New("the local SNS sends something that is not JSON")
	}
	return b, nil
}

// named returns the fan's name from the path, or answers that it cannot be one.
func named(w http.ResponseWriter, r *http.Request) (string, bool) {
	name := r.PathValue("fan")
	if err := fanwatch.CheckFan(name); err != nil {
		fail(w, http.StatusBadRequest, oneLine(err))
		return "", false
	}
	return name, true
}

func unknown(w http.ResponseWriter, name string) {
	fail(w, http.StatusNotFound, "no fan is called "+name+": neither a workflow nor a reading has spoken of it yet")
}
