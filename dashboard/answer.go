package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"fanwatch"
	links "fanwatch/answer"
	"fanwatch/operator"
)

// Answerer shows alerts and takes answers to them. Its methods may be called concurrently.
type Answerer interface {
	// Alert returns one alert, open or over. An error that wraps operator.ErrUnknown says that there is none.
	Alert(ctx context.Context, alertID string) (fanwatch.Alert, error)
	// AnswerAlert tells an alert what a person does about it, and returns it. Errors that wrap operator.ErrUnknown,
	// operator.ErrEnded or, for a token that it took before, operator.ErrUsed are told as such; every other one as the
	// system's failure.
	AnswerAlert(ctx context.Context, alertID string, a fanwatch.Answer) (fanwatch.Alert, error)
}

// AnswersConfig says how alerts are answered from outside.
type AnswersConfig struct {
	Operator  Answerer    // required
	Keys      *links.Keys // required: they open the links
	PublicURL string      // base URL of the links, such as https://fans.example.org; "" = they lead to loopback
	// PagerDuty and Slack hold the signing secret of a webhook subscription and of an app, as env:NAME or file:PATH;
	// "" = what comes from there is refused. They are read at each request.
	PagerDuty, Slack string
	Log              *slog.Logger   // nil = nothing is logged
	Now              fanwatch.Clock // nil = time.Now
}

// Answers is an HTTP handler that takes answers to alerts from outside: /answer by signed links, /hooks/pagerduty and
// /hooks/slack by signed requests. It serves nothing else, so that its address may be published.
type Answers struct {
	cfg    AnswersConfig
	public *url.URL // nil = none
	routes *http.ServeMux
	known  *incidentKeys
}

// NewAnswers makes the handler, or says what is wrong with the configuration.
func NewAnswers(cfg AnswersConfig) (*Answers, error) {
	if cfg.Operator == nil || cfg.Keys == nil {
		return nil, errors.New("dashboard: answers need an Operator and Keys")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Answers{cfg: cfg, routes: http.NewServeMux(), known: newIncidentKeys()}
	if cfg.PublicURL != "" {
		u, err := url.Parse(cfg.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" ||
			u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, fmt.Errorf("dashboard: public URL %.100q: want scheme and host alone, such as https://fans.example.org",
				cfg.PublicURL)
		}
		s.public = u
	}
	for name, secret := range map[string]string{"PagerDuty": cfg.PagerDuty, "Slack": cfg.Slack} {
		if secret == "" {
			continue
		}
		if _, err := links.ReadSecret(secret); err != nil {
			return nil, fmt.Errorf("dashboard: signing secret of %s: %w", name, err)
		}
	}
	route := func(methods, path string, h http.HandlerFunc) {
		for method := range strings.SplitSeq(methods, ", ") {
			s.routes.HandleFunc(method+" "+path, h)
		}
		s.routes.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", methods)
			fail(w, http.StatusMethodNotAllowed, "use "+methods)
		})
	}
	route("GET, POST", "/answer", s.answer) // GET is HEAD, too
	route("POST", "/hooks/pagerduty", s.pagerDuty)
	route("POST", "/hooks/slack", s.slack)
	s.routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "there is nothing here")
	})
	return s, nil
}

// ServeHTTP answers one request under loopback's names or that of the public URL.
func (s *Answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	if host := hostOf(r.Host); !isLoopback(host) && !s.publishes(host) {
		fail(w, http.StatusMisdirectedRequest, "this is not known by this host name: give it as public URL")
		return
	}
	s.routes.ServeHTTP(w, r)
}

// publishes reports whether the host, as hostOf gives it, is that of the public URL.
func (s *Answers) publishes(host string) bool {
	return s != nil && s.public != nil && host == hostOf(s.public.Host)
}

//go:embed answer.html
var answerHTML string

//go:embed answer.css
var answerCSS string

var (
	answerPage = template.Must(template.New("answer").Parse(answerHTML))
	// answerPolicy is the Content-Security-Policy of the page: its own style and its own form, no script.
	answerPolicy = "default-src 'none'; style-src 'sha256-" + hashOf(answerCSS) + "'; form-action 'self'; " +
		"base-uri 'none'; frame-ancestors 'none'"
)

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// answerView is what the page shows.
type answerView struct {
	Style   template.CSS
	Title   string
	Said    string // what came of the request, or why it came to nothing
	Bad     bool   // Said is a refusal
	Alert   *fanwatch.Alert
	Opened  string // of the alert, with its age
	State   string // of the alert, one sentence
	Form    bool   // whether the alert may be answered
	Taken   bool   // it is acknowledged: to acknowledge is to take it over
	To, By  string
	Note    string
	Token   string
	Reason  bool // the form to resolve is open
	Snooze  bool // snoozing is what the link proposes
	Command string
}

// answer serves the page of a signed link. GET and HEAD change nothing: programs that look at mail follow links.
func (s *Answers) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", answerPolicy)
	acts := r.Method == http.MethodPost
	token := r.URL.Query().Get("t")
	if acts {
		if why := s.refusedPost(w, r); why != "" {
			s.page(w, r, http.StatusForbidden, answerView{Title: "Not answered", Said: why, Bad: true})
			return
		}
		token = r.PostForm.Get("t")
	}
	c, err := s.cfg.Keys.Open(token)
	switch {
	case errors.Is(err, links.ErrWrong):
		s.page(w, r, http.StatusNotFound, answerView{Title: "Not a link of this system", Bad: true,
			Said: "This link was not made by this system, or it was cut or changed on its way. Nothing was done. Copy the " +
				"whole link from the message, or answer on the dashboard."})
		return
	case errors.Is(err, links.ErrExpired):
		s.page(w, r, http.StatusGone, answerView{Title: "The link is too old", Bad: true, Command: "fanwatch ack " + c.Alert,
			Said: "This link ended at " + clock(c.Expires) + ". Nothing was done. A newer message has a newer link; else " +
				"answer on the dashboard or with the command below."})
		return
	case err != nil:
		s.cfg.Log.Error("answer: no key to open a link", "err", err)
		s.page(w, r, http.StatusInternalServerError, answerView{Title: "Not answered", Bad: true,
			Said: "The keys that open links cannot be read here. Nothing was done. Answer on the dashboard."})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	defer cancel()
	if acts {
		s.act(ctx, w, r, c, token)
		return
	}
	a, err := s.cfg.Operator.Alert(ctx, c.Alert)
	if err != nil {
		s.failed(w, r, c, err)
		return
	}
	s.page(w, r, http.StatusOK, s.view(a, c, token))
}

// refusedPost reads the form, and says why it is refused, "" if it is not. The token alone is the right to act, so that
// another site's page gains nothing by a post without one; its Origin is looked at all the same. The page's own is
// null, because it sends no referrer.
func (s *Answers) refusedPost(w http.ResponseWriter, r *http.Request) string {
	origin, err := url.Parse(r.Header.Get("Origin"))
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case site == "cross-site" || site == "same-site",
		err != nil || origin.Host != "" && origin.Host != r.Host && !s.publishes(hostOf(origin.Host)):
		return "The form was sent by another site's page. Nothing was done. Open the link from the message itself."
	}
	typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || typ != "application/x-www-form-urlencoded" {
		return "What was sent is not the page's form. Nothing was done. Open the link from the message."
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if r.ParseForm() != nil {
		return "The form is longer than 16 KiB or damaged. Nothing was done. Write a shorter note."
	}
	return ""
}

// act does what the form asks for.
func (s *Answers) act(ctx context.Context, w http.ResponseWriter, r *http.Request, c links.Claim, token string) {
	now := s.cfg.Now()
	by, note := strings.TrimSpace(r.PostForm.Get("by")), strings.TrimSpace(r.PostForm.Get("note"))
	by = cmp.Or(by, c.To)
	in := fanwatch.Answer{V: fanwatch.AnswerVersion, Action: fanwatch.Action(r.PostForm.Get("action")), By: by,
		From: "link", Note: strings.Join(strings.Fields(note), " "), Token: c.ID}
	if c.To != "" && by != c.To {
		in.By = fmt.Sprintf("%s (link of %s)", by, c.To)
	}
	if in.Action == fanwatch.ActionSnooze {
		in.Until = now.Add(time.Hour).UTC()
	}
	var why string
	switch err := checkAnswer(in, now); {
	case !slices.Contains([]fanwatch.Action{fanwatch.ActionAcknowledge, fanwatch.ActionSnooze, fanwatch.ActionResolve,
		fanwatch.ActionNote}, in.Action):
		why = "A link acknowledges, snoozes, adds a note or resolves."
	case err != nil:
		why = sentence(err)
	}
	if why != "" { // the link is not used up
		a, err := s.cfg.Operator.Alert(ctx, c.Alert)
		if err != nil {
			s.failed(w, r, c, err)
			return
		}
		v := s.view(a, c, token)
		v.Said, v.Bad, v.By, v.Note = why+" Nothing was done yet.", true, by, note
		v.Reason = in.Action == fanwatch.ActionResolve
		s.page(w, r, http.StatusBadRequest, v)
		return
	}
	a, err := s.cfg.Operator.AnswerAlert(ctx, c.Alert, in)
	if err != nil {
		s.failed(w, r, c, err)
		return
	}
	s.cfg.Log.Info("answer: an alert was answered by link", "alert", c.Alert, "by", in.By, "action", in.Action)
	v := s.view(a, c, "")
	v.Form, v.Bad = false, false
	v.Title, v.Said = "Done", done(in)+" This page may be closed."
	s.page(w, r, http.StatusOK, v)
}

// done says what an answer did.
func done(a fanwatch.Answer) string {
	switch a.Action {
	case fanwatch.ActionSnooze:
		return "Snoozed until " + clock(a.Until) + ", in the name of " + a.By + "."
	case fanwatch.ActionResolve:
		return "Resolved in the name of " + a.By + ". The next bad reading opens another alert."
	case fanwatch.ActionNote:
		return "The note of " + a.By + " was added."
	}
	return "Acknowledged: " + a.By + " takes care, and nobody further is woken."
}

// failed says why an alert was not shown or answered.
func (s *Answers) failed(w http.ResponseWriter, r *http.Request, c links.Claim, err error) {
	v := answerView{Title: "Not answered", Bad: true, Command: "fanwatch ack " + c.Alert}
	status := http.StatusBadGateway
	switch {
	case errors.Is(err, operator.ErrUsed):
		status, v.Title = http.StatusConflict, "The link was used"
		v.Said = "This link was used before; each works once. Nothing was done now. Answer again on the dashboard or by " +
			"the link of a newer message."
	case errors.Is(err, operator.ErrEnded):
		status, v.Title, v.Command = http.StatusConflict, "The alert is over", ""
		v.Said = "The alert is over already. Nothing is left to do."
	case errors.Is(err, operator.ErrUnknown):
		status, v.Title, v.Command = http.StatusNotFound, "The alert is not known", ""
		v.Said = "The alert of this link is not known any more: it ended long ago. Nothing was done."
	default:
		s.cfg.Log.Warn("answer: an alert could not be asked", "alert", c.Alert, "err", err)
		v.Said = "Fanwatch does not answer at the moment, so it is not certain that the answer was taken. Open the link " +
			"again in a minute: it shows the state."
	}
	if status == http.StatusConflict {
		ctx, cancel := context.WithTimeout(r.Context(), askFor)
		defer cancel()
		if a, err := s.cfg.Operator.Alert(ctx, c.Alert); err == nil {
			shown := s.view(a, c, "")
			v.Alert, v.Opened, v.State, v.Said = shown.Alert, shown.Opened, shown.State, cmp.Or(shown.Said, v.Said)
		}
	}
	s.page(w, r, status, v)
}

// view shows an alert to the reader of a link.
func (s *Answers) view(a fanwatch.Alert, c links.Claim, token string) answerView {
	now := s.cfg.Now()
	v := answerView{Title: strings.TrimSpace(a.Fan + " " + string(a.Kind)), Alert: &a, To: c.To, By: c.To, Token: token,
		Opened: clock(a.Opened) + ", " + age(now.Sub(a.Opened)) + " ago", Reason: c.Action == fanwatch.ActionResolve,
		Snooze: c.Action == fanwatch.ActionSnooze}
	switch {
	case a.State == fanwatch.AlertResolved && a.EndedBy != "":
		v.State = "It was resolved by " + a.EndedBy + " at " + clock(a.EndedAt) + "."
	case a.State == fanwatch.AlertResolved:
		v.State = "It is over since " + clock(a.EndedAt) + ": nothing is left to do."
	case a.State == fanwatch.AlertTerminated:
		v.State = "Its workflow was ended from outside: nothing more is told of it."
	case a.State == fanwatch.AlertAcknowledged:
		v.Form, v.Taken = true, true
		v.State = "It is acknowledged by " + cmp.Or(a.AckedBy, "a person without a name") + " at " + clock(a.AckedAt) + "."
		if !a.SnoozedUntil.IsZero() {
			v.State += " It is snoozed until " + clock(a.SnoozedUntil) + "."
		}
		if a.Note != "" {
			v.State += " Note: " + a.Note
		}
	default:
		v.Form, v.State = true, "It is open: no one takes care of it yet."
	}
	if i := slices.IndexFunc(a.Answers, func(b fanwatch.Answer) bool { return b.Token == c.ID }); i >= 0 {
		used := a.Answers[i]
		v.Form = false
		v.Said = fmt.Sprintf("This link was used at %s, by %s: %s. Each link works once; answer again on the dashboard or by "+
			"the link of a newer message.", clock(used.At), used.By, used.Action)
	}
	return v
}

func (s *Answers) page(w http.ResponseWriter, r *http.Request, status int, v answerView) {
	v.Style = template.CSS(answerCSS)
	var b bytes.Buffer
	if err := answerPage.Execute(&b, v); err != nil { // the template does not fit the view
		s.cfg.Log.Error("answer: the page cannot be written", "err", err)
		fail(w, http.StatusInternalServerError, "the page cannot be written")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b.Bytes())
	}
}

// clock writes a time for a person who may be in any zone.
func clock(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04 UTC") }

// age writes how long something has lasted, in its two largest units.
func age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// sentence makes a sentence of an error.
func sentence(err error) string {
	s := oneLine(err)
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// checkAnswer returns an error that names the field and the mend when an alert could not list the answer.
func checkAnswer(a fanwatch.Answer, now time.Time) error {
	if err := (fanwatch.Acknowledgement{By: a.By, Note: a.Note, Verdict: a.Verdict}).Check(); err != nil {
		return err
	}
	switch a.Action {
	case fanwatch.ActionAcknowledge, fanwatch.ActionUnacknowledge:
	case fanwatch.ActionSnooze:
		if !a.Until.After(now) || a.Until.After(now.Add(maxSnooze)) {
			return fmt.Errorf("until is outside the next %d days: say until when to snooze", maxSnooze/(24*time.Hour))
		}
	case fanwatch.ActionHand:
		if a.To == "" || !plain(a.To, 100) {
			return errors.New("to names nobody: say in at most 100 bytes who takes care from now on")
		}
	case fanwatch.ActionNote:
		if a.Note == "" {
			return errors.New("the note is empty: write one")
		}
	case fanwatch.ActionResolve:
		if a.Note == "" {
			return errors.New("the note is empty: say why the alert is over")
		}
	default:
		return fmt.Errorf("action %.40q is unknown: give acknowledge, snooze, hand, note, resolve or unacknowledge", a.Action)
	}
	return nil
}

// maxSnooze is the longest time for which an alert is snoozed.
const maxSnooze = 30 * 24 * time.Hour
