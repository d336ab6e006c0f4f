package sns

import (
	"cmp"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Entry is a message in the inbox of one recipient.
type Entry struct {
	// ID counts up from 1 over the inbox; a later entry has a greater ID.
	ID uint64 `json:"id"`
	// MessageID is what the first Publish answered.
	MessageID string    `json:"message_id"`
	Time      time.Time `json:"time"`
	To        string    `json:"to"`
	Protocol  string    `json:"protocol"` // email or email-json
	Subject   string    `json:"subject"`
	Body      string    `json:"body"`
	// Attributes are the message attributes' values, Binary in base64.
	Attributes map[string]string `json:"attributes"`
	Topic      string            `json:"topic"` // ARN
	// Key is the idempotency key (KeyAttribute), Copies how often it was
	// published to this recipient: 1 without repeats.
	Key    string `json:"key,omitempty"`
	Copies int    `json:"copies"`
}

// keepBytes bounds the memory of all bodies together.
const keepBytes = 64 << 20

// inbox keeps the newest entries in order of ID. The server's mutex guards it.
type inbox struct {
	keep    int
	entries []Entry
	keys    map[inboxKey]uint64
	last    uint64 // ID
	bytes   int
}

type inboxKey struct{ protocol, to, key string }

func newInbox(keep int) *inbox { return &inbox{keep: keep, keys: map[inboxKey]uint64{}} }

func (e Entry) key() inboxKey { return inboxKey{e.Protocol, e.To, e.Key} }
func (e Entry) size() int     { return len(e.Body) + len(e.Subject) + 256 }

// holds answers the entry that already carries this one's key.
func (b *inbox) holds(e Entry) (id uint64, ok bool) {
	if e.Key == "" {
		return 0, false
	}
	id, ok = b.keys[e.key()]
	return id, ok
}

// add appends an entry; one that is out of order (a hand-edited file) is left out.
func (b *inbox) add(e Entry) {
	if e.ID <= b.last {
		return
	}
	b.last = e.ID
	b.entries = append(b.entries, e)
	b.bytes += e.size()
	if e.Key != "" {
		b.keys[e.key()] = e.ID
	}
	for len(b.entries) > b.keep || b.bytes > keepBytes && len(b.entries) > 1 {
		oldest := b.entries[0]
		if b.keys[oldest.key()] == oldest.ID {
			delete(b.keys, oldest.key())
		}
		b.bytes -= oldest.size()
		b.entries[0] = Entry{} // let go of the body
		b.entries = b.entries[1:]
	}
}

func (b *inbox) repeat(id uint64) {
	if i, ok := b.index(id); ok {
		b.entries[i].Copies++
	}
}

// newest answers at most limit entries with an ID above after, newest first,
// and whether there are more of them.
func (b *inbox) newest(after uint64, limit int) (list []Entry, more bool) {
	from, found := b.index(after)
	if found {
		from++
	}
	if n := len(b.entries) - from; n > limit {
		from, more = len(b.entries)-limit, true
	}
	list = slices.Clone(b.entries[from:])
	slices.Reverse(list)
	return list, more
}

func (b *inbox) index(id uint64) (int, bool) {
	return slices.BinarySearchFunc(b.entries, id, func(e Entry, id uint64) int { return cmp.Compare(e.ID, id) })
}

// Inbox answers at most limit entries with an ID above after, newest first.
func (s *Server) Inbox(after uint64, limit int) []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, _ := s.inbox.newest(after, max(0, limit))
	return list
}

// serveInboxJSON answers {"v":1,"newest":ID,"more":bool,"entries":[...]},
// newest first. after=ID leaves older entries out (default 0: all); limit is
// 1 to 1000, default 100; more says that limit cut entries above after off.
func (s *Server) serveInboxJSON(w http.ResponseWriter, r *http.Request) {
	after, err := number64(r.FormValue("after"), 0)
	if err != nil {
		http.Error(w, "after must be the id of an entry", http.StatusBadRequest)
		return
	}
	limit, err := number64(r.FormValue("limit"), 100)
	if err != nil || limit < 1 {
		http.Error(w, "limit must be a number from 1 to 1000", http.StatusBadRequest)
		return
	}
	answer := struct {
		V       int     `json:"v"`
		Newest  uint64  `json:"newest"`
		More    bool    `json:"more"`
		Entries []Entry `json:"entries"`
	}{V: 1}
	s.mu.Lock()
	answer.Newest = s.inbox.last
	answer.Entries, answer.More = s.inbox.newest(after, int(min(limit, 1000)))
	s.mu.Unlock()
	if answer.Entries == nil {
		answer.Entries = []Entry{}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(text)
}

// serveInboxPage is the same for people: plain HTML, no script.
func (s *Server) serveInboxPage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := inboxPage().Execute(w, s.Inbox(0, 200)); err != nil {
		s.cfg.Log.Debug("sns: inbox page", "err", err)
	}
}

func inboxPage() *template.Template {
	return template.Must(template.New("inbox").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>fanwatch inbox</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:15px/1.45 system-ui,sans-serif;max-width:52rem;margin:1.5rem auto;padding:0 1rem;color:#222;background:#fff}
article{border-top:1px solid #ccc;padding:.8rem 0}
h2{font-size:1.05rem;margin:0}
p.meta,dl{color:#555;font-size:.85rem;margin:.15rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;margin:.5rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 .8rem}dd{margin:0;overflow-wrap:anywhere}
</style></head><body>
<h1>Inbox</h1>
<p>What the local SNS delivered by email, newest first (at most 200). Also as <a href="inbox.json">JSON</a>.</p>
{{range .}}<article id="{{.ID}}"><h2>{{.Subject}}</h2>
<p class="meta">{{.Time.UTC.Format "2006-01-02 15:04:05"}} UTC, to {{.To}}{{if gt .Copies 1}}, published {{.Copies}} times{{end}}</p>
<pre>{{.Body}}</pre>
{{with .Attributes}}<dl>{{range $name, $value := .}}<dt>{{$name}}</dt><dd>{{$value}}</dd>{{end}}</dl>{{end}}
</article>
{{else}}<p>Nothing yet.</p>{{end}}
</body></html>
`))
}

func number64(text string, otherwise uint64) (uint64, error) {
	if text == "" {
		return otherwise, nil
	}
	return strconv.ParseUint(text, 10, 64)
}
