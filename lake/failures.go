package lake

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"fanwatch/objstore"
)

// failures collects the errors of those parts of a task that failed while others went on. The zero value is empty. It
// is not safe for concurrent use.
type failures []error

// add adds an error, or those of a *Partial one by one; nil is none.
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

// err returns a *Partial of the errors, or nil without any.
func (f failures) err() error {
	if len(f) == 0 {
		return nil
	}
	return &Partial{f}
}

// Partial says which parts of a task failed. The other parts are done.
type Partial struct {
	Errs []error // one of each part that failed; not empty
}

// partsNamed is how many failures the text of a Partial names.
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

// Unwrap returns the failures, for errors.Is and errors.As.
func (p *Partial) Unwrap() []error { return p.Errs }

// passedOver remembers the objects that were found in folders where they do not belong. It is safe for concurrent use.
type passedOver struct {
	mu      sync.Mutex
	folders map[string][]string // by folder: key and reason
}

// set replaces the objects of a folder.
func (p *passedOver) set(folder string, found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.folders == nil {
		p.folders = make(map[string][]string)
	}
	p.folders[folder] = found
}

// all returns the objects of all folders.
func (p *passedOver) all() (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.folders {
		found = append(found, f...)
	}
	slices.Sort(found)
	return found
}

// strayReason returns why an object does not belong to a folder of JSON objects, "" where it may. Consoles make folders
// as objects of no bytes whose key ends with a slash.
func strayReason(o objstore.Object) string {
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

// strayObject returns the line that names an object that was passed over. A key that fanwatch cannot have written is
// quoted.
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
