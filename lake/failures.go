package lake

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"fanwatch/objstore"
)

// failures collects what went wrong with parts of a work whose other parts went on. The zero value is empty. Not
// safe for concurrent use.
type failures []error

// add takes an error in; nil is none. Those of another Partial come in one by one.
func (f *failures) add(err error) {
	var p *Partial
	switch {
	case err == nil:
	case errors.As(err, &p) && error(p) == err:
		*f = append(*f, p.Errs...)
	default:
		*f = append(*f, err)
	}
}

// err returns a *Partial of what was collected, or nil.
func (f failures) err() error {
	if len(f) == 0 {
		return nil
	}
	return &Partial{f}
}

// Partial says which parts of a work failed. The other parts are done.
type Partial struct{ Errs []error }

// partsNamed is how many failures a Partial names in its text.
const partsNamed = 10

// Error names the failures in one line, the first ten of them.
func (p *Partial) Error() string {
	texts := p.Texts()
	if n := len(texts) - partsNamed; n > 0 {
		texts = append(texts[:partsNamed], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(texts, "; ")
}

// Texts returns each failure in one line, each once.
func (p *Partial) Texts() []string {
	var texts []string
	for _, err := range p.Errs {
		text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// Unwrap returns the failures to errors.Is and errors.As.
func (p *Partial) Unwrap() []error { return p.Errs }

// passedOver remembers which objects of a folder were found that do not belong there. Safe for concurrent use.
type passedOver struct {
	mu      sync.Mutex
	folders map[string][]string // by folder: key and reason
}

// set replaces what is known of a folder.
func (p *passedOver) set(folder string, found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.folders == nil {
		p.folders = make(map[string][]string)
	}
	p.folders[folder] = found
}

// all returns what is known of all folders.
func (p *passedOver) all() (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.folders {
		found = append(found, f...)
	}
	slices.Sort(found)
	return found
}

// stray says why an object of a folder of JSON objects is none of them: "" where it may be one. Consoles make
// folders by objects of no bytes whose key ends with a slash.
func stray(o objstore.Object) string {
	switch {
	case strings.HasSuffix(o.Key, "/"):
		return "a folder marker"
	case !strings.HasSuffix(o.Key, ".json"):
		return "not an object of fanwatch's"
	case objstore.CheckKey(o.Key) != nil:
		return "its key is not one that fanwatch writes"
	}
	return ""
}

// strayObject words one object that was passed over. Its key may come from anywhere, so it is quoted where it is odd.
func strayObject(key, why string) string {
	if objstore.CheckKey(strings.TrimSuffix(key, "/")) != nil {
		key = fmt.Sprintf("%.200q", key)
	}
	return key + ": " + why + ": passed over; remove it if nothing of yours needs it"
}

// wrap adds context to an error and leaves nil alone.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
