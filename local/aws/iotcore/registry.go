package iotcore

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// thing is a registry entry. Like every record here it is never changed once it is in the map: a change
// puts a copy in its place.
type thing struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes"`
	Version    int64             `json:"version"`
}

// certificate is a device certificate with its attachments.
type certificate struct {
	ID        string    `json:"id"`
	PEM       string    `json:"pem"`
	Status    string    `json:"status"` // ACTIVE, INACTIVE or REVOKED
	Created   time.Time `json:"created"`
	Modified  time.Time `json:"modified"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Policies  []string  `json:"policies"` // names, sorted
	Things    []string  `json:"things"`   // names, sorted
}

// policy is a named policy document in its one version.
type policy struct {
	Name     string    `json:"name"`
	Document string    `json:"document"`
	Created  time.Time `json:"created"`

	parsed *policyDocument
}

const (
	kindThing       = "things"
	kindCertificate = "certificates"
	kindPolicy      = "policies"
	kindRule        = "rules"

	statusActive   = "ACTIVE"
	statusInactive = "INACTIVE"
	statusRevoked  = "REVOKED"
)

// registry holds things, certificates, policies, rules and shadows in memory and on disk. Reads take a lock only for
// the map, never for the disk, so that a publish is not held up by a change. Safe for concurrent use.
type registry struct {
	store   store
	account string
	region  string
	now     func() time.Time

	change sync.Mutex // held over a whole change, disk included: changes come one at a time

	mu           sync.RWMutex
	things       map[string]*thing
	certificates map[string]*certificate
	policies     map[string]*policy
	rules        map[string]*rule
	shadows      map[string]*shadow // by shadowID
}

func openRegistry(dir, account, region string, now func() time.Time) (*registry, error) {
	r := &registry{
		store: store{dir}, account: account, region: region, now: now,
		things: map[string]*thing{}, certificates: map[string]*certificate{},
		policies: map[string]*policy{}, rules: map[string]*rule{}, shadows: map[string]*shadow{},
	}
	err := loadInto(r.store, kindThing, r.things, nil)
	if err == nil {
		err = loadInto(r.store, kindCertificate, r.certificates, nil)
	}
	if err == nil {
		err = loadInto(r.store, kindPolicy, r.policies, func(p *policy) (err error) {
			p.parsed, err = parsePolicy(p.Document)
			return err
		})
	}
	if err == nil {
		err = loadInto(r.store, kindRule, r.rules, (*rule).compile)
	}
	if err == nil {
		err = loadInto(r.store, kindShadow, r.shadows, nil)
	}
	return r, err
}

func (r *registry) arn(resource string) string {
	return "arn:aws:iot:" + r.region + ":" + r.account + ":" + resource
}

func (r *registry) certificateARN(id string) string { return r.arn("cert/" + id) }

// apiError is an error as the AWS IoT API answers it.
type apiError struct {
	Status  int
	Code    string
	Message string
	Extra   map[string]string // further members of the answer
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func invalid(format string, args ...any) error {
	return &apiError{Status: http.StatusBadRequest, Code: "InvalidRequestException", Message: fmt.Sprintf(format, args...)}
}

func notFound(kind, name string) error {
	return &apiError{Status: http.StatusNotFound, Code: "ResourceNotFoundException",
		Message: fmt.Sprintf("%s %s does not exist", kind, name)}
}

func alreadyExists(kind, name, arn string) error {
	return &apiError{Status: http.StatusConflict, Code: "ResourceAlreadyExistsException",
		Message: fmt.Sprintf("%s %s already exists", kind, name),
		Extra:   map[string]string{"resourceId": name, "resourceArn": arn}}
}

func deleteConflict(format string, args ...any) error {
	return &apiError{Status: http.StatusConflict, Code: "DeleteConflictException", Message: fmt.Sprintf(format, args...)}
}

func (r *registry) thing(name string) (*thing, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if t, ok := r.things[name]; ok {
		return t, nil
	}
	return nil, notFound("Thing", name)
}

func (r *registry) certificate(id string) (*certificate, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c, ok := r.certificates[id]; ok {
		return c, nil
	}
	return nil, notFound("Certificate", id)
}

func (r *registry) policy(name string) (*policy, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if p, ok := r.policies[name]; ok {
		return p, nil
	}
	return nil, notFound("Policy", name)
}

// rule returns the rule of that name, or false.
func (r *registry) rule(name string) (*rule, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	u, ok := r.rules[name]
	return u, ok
}

// matching returns the enabled rules whose FROM fits the topic, sorted by name.
func (r *registry) matching(topic string) []*rule {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*rule
	for _, u := range r.rules {
		if !u.Disabled && u.query.filter != "" && matchFilter(u.query.filter, topic) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b *rule) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// attachedCertificates returns the IDs of the certificates attached to the thing, sorted.
func (r *registry) attachedCertificates(name string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []string
	for id, c := range r.certificates {
		if slices.Contains(c.Things, name) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// thingOf returns the thing that the certificate is attached to, "" when there is none or more than one.
func (r *registry) thingOf(certificateID string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c, ok := r.certificates[certificateID]; ok && len(c.Things) == 1 {
		return c.Things[0]
	}
	return ""
}

// authorize tells why the holder of the certificate may not do the action on the resource (such as
// "topic/a/b"), and nil when it may. An explicit Deny wins over every Allow.
func (r *registry) authorize(certificateID, clientID, action, resource string) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c, ok := r.certificates[certificateID]
	if !ok {
		return fmt.Errorf("certificate %.12s is not registered", certificateID)
	}
	if c.Status != statusActive {
		return fmt.Errorf("certificate %.12s is %s", certificateID, c.Status)
	}
	who := connection{ClientID: clientID}
	if slices.Contains(c.Things, clientID) {
		who.Thing = clientID
	}
	out := silent
	for _, name := range c.Policies {
		p, ok := r.policies[name]
		if !ok {
			continue
		}
		switch p.parsed.judge(who, action, r.arn(resource)) {
		case denied:
			return fmt.Errorf("policy %s denies %s on %s", name, action, resource)
		case allowed:
			out = allowed
		}
	}
	if out != allowed {
		return fmt.Errorf("no policy of certificate %.12s allows %s on %s", certificateID, action, resource)
	}
	return nil
}
